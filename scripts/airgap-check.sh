#!/usr/bin/env bash
# airgap-check.sh [--work FOLDER] [TARBALL]: shows that the vendored source builds and passes its tests where there is nothing.
#
# In a network namespace with no interface but loopback, with an empty CARGO_HOME and `--offline --locked`.
# Without TARBALL, vendor.sh makes one. A compiler cache named by CXX is used, since it holds no source. FOLDER is
# kept, and what was built in it serves the next check of it.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TOLLER_CHECK_INSIDE-}" ]; then
    if [ "${1-}" = --work ]; then
        work=$(realpath -m "$2")
        shift 2
        mkdir -p "$work"
        rm -rf "${work:?}"/{home,toller-*}
    else
        work=$(mktemp -d "${TMPDIR:-/var/tmp}/toller-airgap.XXXXXX")
        trap 'rm -rf "$work"' EXIT
    fi
    tarball=${1:-$(scripts/vendor.sh "$work" | tail -n 1)}
    printf '%s: %s bytes\n' "$(basename "$tarball")" "$(stat -c %s "$tarball")"
    tar -xJf "$tarball" -C "$work"
    tree=$(find "$work" -mindepth 1 -maxdepth 1 -type d -name 'toller-*')
    mkdir -p "$work/target" "$work/home"
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/toller/target}
    TOLLER_CHECK_INSIDE=$tree CARGO_HOME=$work/home scripts/packaging/apart.sh --no-network "$work/target" scripts/airgap-check.sh
    exit
fi
cd "$TOLLER_CHECK_INSIDE"
unset TOLLER_CHECK_INSIDE

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}
run ip -brief address
run ip route show table all
if [ "$(ip -brief link | awk '$1 != "lo" && $2 != "DOWN"' | wc -l)" != 0 ]; then
    echo "airgap-check.sh: there is an interface besides loopback" >&2
    exit 1
fi
run ls -A "$CARGO_HOME"
SECONDS=0
run cargo build --release --offline --locked
printf '\nbuilt in %d:%02d\n' $((SECONDS / 60)) $((SECONDS % 60))
SECONDS=0
run cargo test --release --offline --locked
printf '\ntested in %d:%02d, the building of the tests included\n' $((SECONDS / 60)) $((SECONDS % 60))
printf 'airgap-check.sh: all as it should be\n'
