#!/usr/bin/env bash
# duckdb-pipe-jq.sh DATABASE SQL OPTIONS: fetches the images that a query names, with DuckDB, toller and jq each doing
# its own part; prints GUID, kind and cause of each that failed. Needs duckdb and jq.
#
#   duckdb-pipe-jq.sh sales.duckdb "SELECT guid FROM orders WHERE day = current_date" \
#       --url 'https://images.example.com/thumbs/{guid}.jpg' --dest /data/thumbs
#
# A second column of the query is taken as the image's URL. Exits like `toller pipe`, or like what failed beside it,
# since then the GUIDs or the lines are not all there.
set -u
# cron's PATH is /usr/bin:/bin, and toller and duckdb may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
database=$1 sql=$2
shift 2

duckdb -readonly -noheader -list -separator $'\t' -c "$sql" "$database" |
    toller pipe --progress none "$@" |
    jq -r 'select(.ok | not) | [.guid, .kind, .message] | @tsv'
read -r list pipe lines <<<"${PIPESTATUS[*]}"
case $pipe in 0 | 3 | 4) ;; *) exit "$pipe" ;; esac
# 141: toller ended, for want of time say, before it had read all.
case $list in 0 | 141) ;; *) exit "$list" ;; esac
[ "$lines" = 0 ] || exit "$lines"
exit "$pipe"
