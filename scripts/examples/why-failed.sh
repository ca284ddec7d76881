#!/usr/bin/env bash
# why-failed.sh OPTIONS: runs `toller fetch OPTIONS` and reports what failed and why. Exits like toller.
#
# LIST (failed.txt) holds the GUIDs afterwards, to be looked at, or loaded and fetched again.
set -uo pipefail
# cron's PATH is /usr/bin:/bin, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
list=${LIST:-failed.txt}

summary=$(toller fetch --json --progress none --failed-list "$list" "$@")
code=$?
[ -n "$summary" ] || exit "$code"

jq -r '"\(.fetched + .reused) of \(.pending) are here, \(.failed) failed",
    (.failures | to_entries | sort_by(-.value)[] | "  \(.value) \(.key)")' <<<"$summary"
if [ -s "$list" ]; then
    echo "for example:"
    head -n 5 "$list" | sed 's/^/  /'
    echo "all of them are in $list"
fi
exit "$code"
