#!/usr/bin/env bash
# each-warehouse.sh FILE... [-- OPTIONS]: fetches for several warehouses, one after the other.
#
# The thumbnails of DIR/NAME.duckdb go to DIR/NAME/. One that fails does not keep the others from their turn;
# the exit code is the worst of all: one that is not toller's own, as of a program that is not found (127) or is killed
# (137), else 2, else 1, else 75, else 3, else 4, else 0.
set -u
# cron's PATH is /usr/bin:/bin, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
warehouses=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    warehouses+=("$1")
    shift
done
[ $# -eq 0 ] || shift

codes=' ' unknown=''
for warehouse in "${warehouses[@]}"; do
    toller fetch --warehouse "$warehouse" --dest "${warehouse%.duckdb}" --quiet "$@"
    code=$?
    printf '%s: %s\n' "$warehouse" "$code"
    codes+="$code "
    case $code in
    0 | 1 | 2 | 3 | 4 | 75) ;;
    129 | 130 | 143) exit "$code" ;; # whoever interrupts one means all of them
    *)
        printf 'each-warehouse.sh: %s: %s is no code of toller: it was not found, or was killed\n' "$warehouse" "$code" >&2
        unknown=$code
        ;;
    esac
done

[ -z "$unknown" ] || exit "$unknown"
for worst in 2 1 75 3 4; do
    case $codes in *" $worst "*) exit "$worst" ;; esac
done
