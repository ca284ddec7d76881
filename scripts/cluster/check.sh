#!/usr/bin/env bash
# check.sh [COUNT]: runs everything beside it for real, on this one machine, against an origin of its own: GNU parallel
# with 8 shards, a Slurm array of 4 and a Spark job of 4 partitions, COUNT (100,000) small images each, one shard of
# each killed with -9 half way. What `merge` leaves must equal, row for row, what one plain `fetch` leaves.
#
# Installs what it lacks: Debian's parallel, slurm-wlm and default-jre-headless, PyPI's pyspark, duckdb and
# kubernetes-validate (in VENV, or a folder of its own). Works as root, in memory, and sends nothing to other machines.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/scripts/cluster count=${1:-100000}

lacking=()
command -v parallel >/dev/null || lacking+=(parallel)
command -v slurmctld >/dev/null || lacking+=(slurm-wlm)
command -v java >/dev/null || lacking+=(default-jre-headless)
if [ ${#lacking[@]} -gt 0 ]; then
    apt-get update -q && apt-get install -qy --no-install-recommends "${lacking[@]}"
fi
built=$(scripts/build.sh --bin toller --example demo-origin)
program=$(grep '/toller$' <<<"$built")
demo=$(grep '/demo-origin$' <<<"$built")

unset "${!TOLLER_@}"
export NO_PROXY=localhost no_proxy=localhost
work=$(mktemp -d /dev/shm/toller-cluster.XXXXXX)
hold='' started=()
finish() {
    code=$?
    [ $code = 0 ] || tail -n 20 "$work"/*.log >&2 || true
    [ -z "$hold" ] || exec {hold}>&-
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
    exit $code
}
trap finish EXIT
venv=${VENV:-$work/venv}
[ -x "$venv/bin/spark-submit" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q pyspark duckdb kubernetes-validate; }

# A copy under a path of its own tells our processes from everybody else's.
mkdir -p "$work/bin" "$work/origin"
cp "$program" "$work/bin/toller"
export PATH=$work/bin:$PATH
exec {hold}> >(exec "$demo" --folder "$work/origin" --count "$count" --size small --delay-ms 2)
for ((try = 0; try < 600; try++)); do
    [ ! -e "$work/origin/origin.url" ] || break
    sleep 0.1
done
TOLLER_URL=$(cat "$work/origin/origin.url")
export TOLLER_URL TOLLER_CA_CERT=$work/origin/ca.pem TOLLER_WORKERS=1 TOLLER_NO_SYNC=1
images() { curl -s --cacert "$TOLLER_CA_CERT" "${TOLLER_URL%/thumbs/*}/images"; }

# One in a thousand is gone from the origin, and a few are no GUIDs at all.
{
    awk '{ print } NR % 1000 == 500 { print "gone-" NR }' "$work/origin/guids.txt"
    printf '%s\n' 'a/b' '.hidden' 'back\slash'
} >"$work/guids"
toller load --warehouse "$work/fresh.duckdb" "$work/guids"

say() { printf '\n== %s\n' "$*"; }

# kill_one PROGRAM_NAME: waits until half of the images are served, then kills one `toller pipe` of ours with -9.
kill_one() {
    local base=$1 pid try
    for ((try = 0; try < 6000; try++)); do
        [ "$(images)" -lt $((base + count / 2)) ] || break
        sleep 0.02
    done
    for pid in /proc/[0-9]*; do
        if [ "$(readlink "$pid/exe")" = "$work/bin/toller" ] && tr '\0' ' ' <"$pid/cmdline" | grep -q '^toller pipe'; then
            kill -9 "${pid#/proc/}" && echo "killed process ${pid#/proc/}, a shard, half way" && return
        fi
    done
    echo "no shard was there to be killed" >&2
    return 1
}

# compare NAME: what this engine left against what the plain fetch left, but for times and run ids.
compare() {
    "$venv/bin/python" - "$work/plain.duckdb" "$work/$1.duckdb" <<'PY'
import sys
import duckdb

db = duckdb.connect()
for name, file in zip(("plain", "other"), sys.argv[1:]):
    db.execute(f"ATTACH '{file}' AS {name} (READ_ONLY)")
for table, columns in (
    ("dim_image", "source_image_id, thumb_downloaded, updated_at IS NULL"),
    ("thumb_failure", "* EXCLUDE (run_id, failed_at), failed_at IS NULL"),
):
    rows = [f"SELECT {columns} FROM {name}.{table}" for name in ("plain", "other")]
    counts = [db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0] for query in rows]
    differ = [db.execute(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})").fetchone()[0] for a, b in (rows, rows[::-1])]
    print(f"{table}: {counts[0]:,} and {counts[1]:,} rows, {differ[0]} and {differ[1]} of them different")
    if counts[0] != counts[1] or differ != [0, 0]:
        sys.exit(1)
PY
}

# engine NAME COMMAND...: runs it, with one shard killed half way, and looks at what it left.
engine() {
    local name=$1 base used started_at=$SECONDS
    shift
    say "$name"
    cp "$work/fresh.duckdb" "$work/$name.duckdb"
    export TOLLER_WAREHOUSE=$work/$name.duckdb TOLLER_DEST=$work/thumbs OUTCOMES=$work/$name
    base=$(images)
    kill_one "$base" &
    local killer=$!
    started+=("$killer")
    "$@"
    wait "$killer"
    used=$(($(images) - base))
    echo "$name: $((SECONDS - started_at)) s, $used images served for $count wanted"
    [ "$used" -ge "$count" ] && [ "$used" -le $((count + 3)) ]
    compare "$name"
    toller verify --dest "$TOLLER_DEST" --extension .jpg --json
    rm -rf "$TOLLER_DEST" "$OUTCOMES"
}

say "plain fetch"
cp "$work/fresh.duckdb" "$work/plain.duckdb"
code=0
toller fetch --warehouse "$work/plain.duckdb" --dest "$work/plain" --workers 8 --progress none || code=$?
[ "$code" = 4 ] || { echo "fetch exited with $code" >&2; exit 1; }
rm -rf "$work/plain"

parallel_run() { BLOCK=$(($(stat -c %s "$work/guids") / 8 + 40)) "$here/parallel.sh" 8 "$OUTCOMES"; }

slurm_start() {
    local etc=$work/slurm
    mkdir -p "$etc/state" "$etc/spool"
    (umask 077 && head -c 1024 /dev/urandom >"$etc/munge.key")
    cat >"$etc/slurm.conf" <<CONF
ClusterName=toller
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthInfo=socket=$etc/munge.socket
StateSaveLocation=$etc/state
SlurmdSpoolDir=$etc/spool
SlurmctldPidFile=$etc/slurmctld.pid
SlurmdPidFile=$etc/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
    export SLURM_CONF=$etc/slurm.conf
    munged --foreground --force --key-file "$etc/munge.key" --socket "$etc/munge.socket" --pid-file "$etc/munge.pid" \
        --log-file "$work/munged.log" --seed-file "$etc/munge.seed" >"$work/munge.out.log" 2>&1 {hold}>&- &
    started+=($!)
    slurmctld -D >"$work/slurmctld.log" 2>&1 {hold}>&- &
    started+=($!)
    slurmd -D >"$work/slurmd.log" 2>&1 {hold}>&- &
    started+=($!)
    for ((try = 0; try < 300; try++)); do
        [ "$(sinfo -h -o %t 2>/dev/null)" != idle ] || return 0
        sleep 0.1
    done
    sinfo >&2
    return 1
}

# Requeued tasks wait two minutes by Slurm's own rule, so this takes as long.
slurm_run() {
    sbatch --wait --quiet --output "$work/slurm-%a.log" --open-mode append "$here/slurm.sh" "$OUTCOMES"
    toller merge "$OUTCOMES"/*.ndjson
}

spark_run() {
    toller pending >"$work/pending"
    PATH=$venv/bin:$PATH SPARK_LOCAL_IP=127.0.0.1 spark-submit --master 'local-cluster[2,2,1024]' --conf spark.ui.enabled=false \
        --conf spark.driver.host=127.0.0.1 "$here/spark.py" "$work/pending" "$OUTCOMES" 4 >"$work/spark.log" 2>&1
    toller merge "$OUTCOMES"/part-*
}

engine parallel parallel_run
slurm_start
engine slurm slurm_run
engine spark spark_run

say "Kubernetes manifest"
"$venv/bin/kubernetes-validate" --strict "$here/kubernetes.yaml" "$here/kubernetes-cron.yaml"
say "all of them leave what one fetch leaves"
