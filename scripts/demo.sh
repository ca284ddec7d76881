#!/usr/bin/env bash
# demo.sh [--keep]: the whole story on this machine alone. Builds toller, starts an HTTPS origin with 12,217
# thumbnails, makes a warehouse, fetches, kills the fetch half way with -9, fetches again, and checks that
# every thumbnail is there. Works in one temporary folder, which is removed at the end unless --keep is given.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=''
case "$*" in
"") ;;
--keep) keep=1 ;;
*) echo "usage: demo.sh [--keep]" >&2; exit 2 ;;
esac

count=12217
built=$(scripts/build.sh --bin toller --example demo-origin)
program=$(grep '/toller$' <<<"$built")
origin=$(grep '/demo-origin$' <<<"$built")

# The reader's own settings are not the demo's, and no proxy leads to this machine.
unset "${!TOLLER_@}"
export NO_PROXY=localhost no_proxy=localhost

work=$(mktemp -d "${TMPDIR:-/tmp}/toller-demo.XXXXXX")
running='' serving='' hold=''
finish() {
    [ -z "$running" ] || kill -9 "$running" 2>/dev/null || true
    if [ -n "$hold" ]; then
        exec {hold}>&-
        wait "$serving" || true
    fi
    cd /
    if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT
cd "$work"

# What the reader would type, quoted as the reader would quote it.
typed() {
    local word line='$ toller'
    for word; do
        case $word in *[!A-Za-z0-9_./:=,%+-]*) word="'$word'" ;; esac
        line+=" $word"
    done
    printf '\n%s\n' "$line"
}
toller() {
    typed "$@"
    "$program" "$@" {hold}>&-
}

# The origin ends when its standard input does, so it cannot outlive this script, however that ends.
exec {hold}> >(exec "$origin" --folder . --count "$count" --delay-ms 1)
serving=$!
while [ ! -e origin.url ]; do
    kill -0 "$serving" 2>/dev/null || { echo "demo.sh: the origin did not start" >&2; exit 1; }
    sleep 0.1
done
fetch=(fetch --warehouse images.duckdb --url "$(cat origin.url)" --dest thumbs --ca-cert ca.pem)
files() { find thumbs -maxdepth 1 -name '*.jpg' 2>/dev/null | wc -l; }

toller load --warehouse images.duckdb guids.txt

typed "${fetch[@]}"
"$program" "${fetch[@]}" {hold}>&- &
running=$!
while [ "$(files)" -lt $((count / 2)) ]; do
    kill -0 "$running" 2>/dev/null || { echo "demo.sh: the fetch ended before it could be killed" >&2; exit 1; }
    sleep 0.02
done
kill -9 "$running"
{ wait "$running" || true; } 2>/dev/null
running=''
printf '\nkilled with -9 half way, with %s files on disk\n' "$(files)"
toller status --warehouse images.duckdb

toller "${fetch[@]}"
toller status --warehouse images.duckdb
typed verify --warehouse images.duckdb
checked=$("$program" verify --warehouse images.duckdb || true)
printf '%s\n' "$checked"

there=$(files)
case $checked in
*'12,217 checked, 12,217 good') [ "$there" -eq $count ] && all=1 || all='' ;;
*) all='' ;;
esac
if [ -z "$all" ]; then
    printf '\ndemo.sh: %s of %s files, and verify says %s\n' "$there" "$count" "$checked" >&2
    exit 1
fi
printf '\n12,217 of 12,217 thumbnails are there, whole and recorded\n'
