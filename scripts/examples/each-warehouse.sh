#!/usr/bin/env bash
# each-warehouse.sh FILE... [-- OPTIONS]: fetches for several warehouses, one after the other.
#
# The thumbnails of DIR/NAME.duckdb go to DIR/NAME/. One that fails does not keep the others from their turn;
# the exit code is the worst of all: 1, else 75, else 3, else 4, else 0.
set -u
warehouses=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    warehouses+=("$1")
    shift
done
[ $# -eq 0 ] || shift

codes=' '
for warehouse in "${warehouses[@]}"; do
    toller fetch --warehouse "$warehouse" --dest "${warehouse%.duckdb}" --quiet "$@"
    code=$?
    printf '%s: %s\n' "$warehouse" "$code"
    codes+="$code "
    # Whoever interrupts one means all of them.
    [ "$code" -lt 128 ] || exit "$code"
done

for worst in 2 1 75 3 4; do
    case $codes in *" $worst "*) exit "$worst" ;; esac
done
