#!/usr/bin/env bash
# apart.sh [--no-network] FOLDER COMMAND...: runs a command where CARGO_TARGET_DIR is FOLDER under the usual path.
#
# DuckDB's objects come out of a compiler cache only where they are compiled under the same path as before;
# a private mount gives a build of its own that very path. Needs root, or a system that lets users make
# namespaces. With --no-network there is nothing but loopback.
set -euo pipefail

spaces=(--mount)
if [ "${1-}" = --no-network ]; then
    spaces+=(--net)
    shift
fi
[ $# -ge 2 ] || {
    echo "apart.sh: want: [--no-network] FOLDER COMMAND..." >&2
    exit 2
}
mkdir -p "$1" "${CARGO_TARGET_DIR:?name the usual target folder}"
[ "$(id -u)" = 0 ] || spaces+=(--map-root-user)
# shellcheck disable=SC2016 # $0 and $@ are the inner shell's
exec unshare "${spaces[@]}" sh -c '
    mount --bind "$1" "$CARGO_TARGET_DIR"
    if [ "$0" = --net ]; then ip link set lo up; fi
    shift
    exec "$@"' "$(printf '%s\n' "${spaces[@]}" | grep -x -e --net || echo --)" "$@"
