#!/usr/bin/env bash
# kill-loop.sh [N]: kills `toller fetch` N times (200 unless told) with -9 at random moments, every other one while
# a batch is being recorded, and half of them on a warehouse whose table has a primary key. After each kill: every
# file under a final name has the origin's very bytes, and every row that says done has its file. Whenever all is
# home, and after the last kill: all 12,217 are there and equal, and no more than 3 requests a kill were spent
# twice. Then it starts over, from nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=${1:-200}
case $kills in *[!0-9]* | "") echo "usage: kill-loop.sh [N]" >&2; exit 2 ;; esac
count=12217
built=$(scripts/build.sh --bin toller --example demo-origin)
toller=${TOLLER_TEST_BINARY:-$(grep "/toller$" <<<"$built")}
origin=$(grep '/demo-origin$' <<<"$built")

unset "${!TOLLER_@}"
export NO_PROXY=localhost no_proxy=localhost LC_ALL=C

work=$(mktemp -d "${TMPDIR:-/tmp}/toller-kill-loop.XXXXXX")
running='' serving='' hold=''
finish() {
    local code=$?
    [ -z "$running" ] || kill -9 "$running" 2>/dev/null || true
    if [ -n "$hold" ]; then
        exec {hold}>&-
        wait "$serving" || true
    fi
    if [ $code = 0 ]; then rm -rf "$work"; else echo "kill-loop.sh: kept $work" >&2; fi
}
trap finish EXIT
cd "$work"
# A build that goes on meanwhile changes nothing here.
cp "$toller" toller
toller=$work/toller
die() {
    echo "kill-loop.sh: after $killed kills ($kind): $*" >&2
    exit 1
}
killed=0 kind=start

exec {hold}> >(exec "$origin" --folder . --count $count --delay-ms 3 >origin.log)
serving=$!
while [ ! -e origin.url ]; do
    kill -0 "$serving" 2>/dev/null || die "the origin did not start"
    sleep 0.1
done
url=$(cat origin.url)
asked() { curl -fsS --cacert ca.pem "${url%/thumbs/*}/requests"; }

# What the origin serves, fetched by another program: name and hash of every thumbnail.
hashes() { (cd "$1" && find . -name '*.jpg' -print0 | xargs -0 -r sha256sum --) | sort; }
sort guids.txt >guids.sorted
sed "s|.*|url=\"${url%/thumbs/*}/thumbs/&.jpg\"\noutput=\"truth/&.jpg\"|" guids.txt >truth.curl
curl -fS --cacert ca.pem --create-dirs --parallel --parallel-max 16 --no-progress-meter --config truth.curl
hashes truth >truth.sums
[ "$(wc -l <truth.sums)" -eq $count ] || die "curl did not get all of the origin's thumbnails"
rm -r truth

# `load` makes tables without a key, and extends whatever table it finds: here an empty warehouse in DuckDB 1.0's
# format, dim_image(source_image_id VARCHAR PRIMARY KEY, thumb_downloaded BOOLEAN, updated_at TIMESTAMP).
keyed() {
    base64 -d <<'DUCKDB' | gzip -dc
H4sIAAAAAAACA+3bPWsUQRgA4NlclJjGQJqkstTGcPgBlhEtlCQgAYuAcCTZveTQy0m+LI1goWBjZ2ktWAoWFimTaLAUBf+BhWAh
WLju3CY5CREkEIjmeThm92beud1ZWNh3Zm9zfPX96ccfH169eWVkOPyd5XND1aHqn9vTixemp6ay82k9AAAAAIfAm0tnXw7e+jCS
7N1c6dR3l5uecpO4dAAAAPDPmPvx/MHyp9fftr/nu4R95P/W/wEAAOBw2fj+ZLPxYuzzdr6fhq7p0JWGpNiph+7mZGOuUc4KTMe6
+MlCcrvT1Azt2iI8K+u2mvI8xsWOa+FE2mjWGs3JmWy9CKyk4eRCa2l+Oivrao00K6oH83wmhNl4sDT0Lc4uNadqaeve3J3WZJq1
I3p/j+hduptOLmZprSiKtv5OW55vhK7ilCprIVkvRhiS3YfL8ziOtTI49l7ZUoytJ8/rIbR/qwjqvzF+fezy+ERtZwS1aj0cT8NA
PIdqLM7E4lkSy0fH2mVfPJckFKNcbM3HLsvZ/EKjNZeEeJ1OxUOGehjea5IFAAAADlKR8VfaWXxo56ZF/rsWM+HS+vaif0ymw9uQ
vNvOnJP61ozA04FrE6OjriMAABxRZe6wO6ko1w9jTtHe23nfeM+4nzsLZDsdVlbXv7yKS3X3yxY5COz37rT0DAD830872Vai0KnN
4luAK30ehAA4onn/7v/zfzU/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAckF/bNQGQADAEAA==
DUCKDB
}

fetch=("$toller" fetch --warehouse images.duckdb --url "$url" --dest thumbs --ca-cert ca.pem
    --batch 100 --batch-seconds 0.5 --quiet)

# A warehouse and a destination as new.
anew() {
    rm -rf thumbs images.duckdb images.duckdb.wal
    [ $kind = plain ] || keyed >images.duckdb
    "$toller" load --warehouse images.duckdb guids.txt >/dev/null
    mkdir thumbs
    before=$(asked) killed_here=0
}

# What must hold at every instant.
check() {
    hashes thumbs >thumbs.sums
    comm -23 thumbs.sums truth.sums >torn
    [ ! -s torn ] || die "$(wc -l <torn) files are not what the origin serves: $(head -n 1 torn)"
    "$toller" pending --warehouse images.duckdb | sort >undone
    sed 's|.*  \./\(.*\)\.jpg$|\1|' thumbs.sums | sort >there
    comm -23 guids.sorted undone | comm -23 - there >lies
    [ ! -s lies ] || die "$(wc -l <lies) rows say done and have no file: $(head -n 1 lies)"
    # 3 is for what a kill may leave: files that no row knows yet, and temporary ones.
    local said code=0
    said=$("$toller" verify --warehouse images.duckdb --dest thumbs --extension jpg --json) || code=$?
    case $code$said in [03]*'"missing":0,"corrupt":0,"changed":0,'*) ;; *) die "verify exits with $code and says: $said" ;; esac
    "$toller" status --warehouse images.duckdb >/dev/null || die "status fails"
}

# What must hold when a run came to its own end.
check_end() {
    check
    cmp -s thumbs.sums truth.sums || die "$(wc -l <thumbs.sums) of $count files are there"
    [ ! -s undone ] || die "$(wc -l <undone) rows are still pending"
    local said left spent
    said=$("$toller" status --warehouse images.duckdb --json)
    case $said in '{"total":'$count',"done":'$count',"pending":0,'*) ;; *) die "status says: $said" ;; esac
    # A run that was killed after its last batch leaves an empty folder: the next one finds nothing to do.
    left=$(find thumbs/.toller -type f ! -name lock | head -n 1)
    [ -z "$left" ] || die "the last run left $left behind"
    spent=$(($(asked) - before))
    [ $spent -le $((count + 3 * killed_here)) ] || die "$spent requests for $count images and $killed_here kills"
    twice=$((twice + spent - count)) rounds=$((rounds + 1))
    echo "round $rounds ($kind) is good, $killed of $kills kills" >&2
}

pause() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }

twice=0 rounds=0 recording=0
for kind in plain keyed; do
    goal=$kills
    [ $kind = keyed ] || goal=$((kills / 2))
    anew
    while [ $killed -lt "$goal" ]; do
        "${fetch[@]}" {hold}>&- &
        running=$!
        pause $((50 + RANDOM % 1451))
        if [ $((killed % 2)) = 1 ]; then
            # The worst moment is while a batch is recorded, so every other kill waits for DuckDB's log to show up.
            until [ -e images.duckdb.wal ] || ! kill -0 "$running" 2>/dev/null; do sleep 0.003; done
            pause $((RANDOM % 30))
        fi
        code=0
        kill -9 "$running" 2>/dev/null || true
        { wait "$running" || code=$?; } 2>/dev/null
        running=
        case $code in
        137)
            killed=$((killed + 1)) killed_here=$((killed_here + 1))
            [ ! -e images.duckdb.wal ] || recording=$((recording + 1))
            check
            ;;
        0)
            check_end
            anew
            ;;
        *) die "fetch exits with $code" ;;
        esac
    done
    "${fetch[@]}" {hold}>&- || die "the last fetch exits with $?"
    check_end
done
printf '%s kills, %s of them while recording, in %s rounds of %s images: 0 torn files, 0 rows that lie, 0 images lost, %s requests too many (%s allowed)\n' \
    "$killed" "$recording" "$rounds" $count "$twice" $((3 * killed))
