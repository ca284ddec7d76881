#!/usr/bin/env bash
# cron-fetch.sh OPTIONS: `toller fetch OPTIONS` from cron. Tries again on 3 and 75, and mails what went wrong.
#
#   17 2 * * *  MAILTO=ops@example.com /usr/local/bin/cron-fetch.sh --warehouse /data/images.duckdb --url … --dest /data/thumbs
#
# TRIES (3) and WAIT (600 seconds, doubled each time) say how patient it is. Exits like toller.
set -u
# cron's PATH is /usr/bin:/bin, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
tries=${TRIES:-3} wait=${WAIT:-600}
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT

for ((try = 1; ; try++)); do
    toller fetch --progress none "$@" >"$said" 2>&1
    code=$?
    # 3: some failed in a way that may pass. 75: another program has the warehouse or the destination.
    if { [ "$code" != 3 ] && [ "$code" != 75 ]; } || [ "$try" -ge "$tries" ]; then break; fi
    sleep "$wait"
    wait=$((wait * 2))
done

case $code in
0 | 3 | 4 | 75 | 129 | 130 | 143) ;; # done, or the next run goes on with it
*) mail -s "toller on $(uname -n) ended with $code" "${MAILTO:-root}" <"$said" ;;
esac
exit "$code"
