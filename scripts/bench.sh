#!/usr/bin/env bash
# bench.sh [--rounds N] [--count N] [--json]: toller beside its peers, on this machine, in one run.
#
# A local HTTPS origin serves the demo's thumbnails; each program that is installed fetches all of them over three
# connections into memory (/dev/shm), in turn, N rounds. Prints the medians of wall and CPU seconds, and the CPU as a
# ratio to curl's. Compare only within one run, and on a machine that has nothing else to do. The origin speaks HTTP/1.1
# alone, which is not what wget2 is at its best with.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 count=12217 json=
while (($#)); do
    case $1 in
    --rounds) rounds=$2 && shift ;;
    --count) count=$2 && shift ;;
    --json) json=1 ;;
    *) echo "bench.sh: $1: no such option" >&2 && exit 2 ;;
    esac
    shift
done

mapfile -t built < <(scripts/build.sh --bin toller --example demo-origin)
for program in "${built[@]}"; do
    case $program in *demo-origin) origin=$program ;; *) toller=$program ;; esac
done

work=$(mktemp -d /dev/shm/toller-bench.XXXXXX)
trap 'kill "$served" 2>/dev/null || true; rm -rf "$work"' EXIT
mkfifo "$work/stdin"
"$origin" --folder "$work" --count "$count" <"$work/stdin" >/dev/null &
served=$!
# The origin ends when this is closed, with the script at the latest.
exec 9>"$work/stdin"
for _ in {1..200}; do [ -s "$work/origin.url" ] && break || read -rt 0.1 <> <(:) || true; done
template=$(<"$work/origin.url")
cd "$work"
while read -r guid; do echo "${template//\{guid\}/$guid}"; done <guids.txt >urls.txt
sed 's|\(.*/\)\(.*\)|url="\1\2"\noutput="out/\2"|' urls.txt >curl.txt
"$toller" load --warehouse fresh.duckdb guids.txt >/dev/null

# What each program is called with; a line that starts with its name.
run() {
    case $1 in
    toller) "$toller" fetch -q --warehouse images.duckdb --url "$template" --dest out --ca-cert ca.pem ;;
    curl) curl -sS --http1.1 --cacert ca.pem --parallel --parallel-max 3 -K curl.txt ;;
    wget2) wget2 -q --ca-certificate=ca.pem --max-threads=3 -P out -i urls.txt ;;
    aria2c) aria2c -q --ca-certificate=ca.pem -j3 -x1 -s1 -d out -i urls.txt --file-allocation=none ;;
    h2load) h2load --h1 -c3 -t1 -n"$count" -i urls.txt >/dev/null ;;
    esac
}

peers=(toller)
for peer in curl wget2 aria2c h2load; do command -v "$peer" >/dev/null && peers+=("$peer"); done
TIMEFORMAT='%R %U %S'
for ((round = 0; round < rounds; round++)); do
    for peer in "${peers[@]}"; do
        rm -rf out images.duckdb* && mkdir out && cp fresh.duckdb images.duckdb
        code=0
        spent=$({ time run "$peer" >/dev/null 2>&1; } 2>&1) || code=$?
        files=$(find out -name '*.jpg' | wc -l)
        if [ "$peer" != h2load ] && ((code != 0 || files != count)); then
            echo "bench.sh: $peer: exit code $code, $files of $count files" >&2
        fi
        echo "$peer $spent"
    done
done >times.txt

median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
wall() { awk -v p="$1" '$1 == p {print $2}' times.txt | median; }
cpu() { awk -v p="$1" '$1 == p {print $3 + $4}' times.txt | median; }
base=$(cpu curl)
[ -n "$json" ] || printf '| %-8s | %7s | %7s | %8s | %s |\n|---|---|---|---|---|\n' program "wall s" "CPU s" "images/s" "CPU / curl's"
for peer in "${peers[@]}"; do
    awk -v p="$peer" -v w="$(wall "$peer")" -v c="$(cpu "$peer")" -v b="${base:-0}" -v n="$count" -v json="$json" 'BEGIN {
        ratio = b > 0 ? c / b : 0
        if (json) printf "{\"program\":\"%s\",\"wall_seconds\":%.3f,\"cpu_seconds\":%.3f,\"images_per_second\":%.0f,\"cpu_to_curl\":%.3f}\n", p, w, c, n / w, ratio
        else printf "| %-8s | %7.2f | %7.2f | %8.0f | %.2f |\n", p, w, c, n / w, ratio
    }'
done
