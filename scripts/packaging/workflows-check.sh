#!/usr/bin/env bash
# workflows-check.sh: holds .github/workflows against their published schema, against zizmor, which knows how they are
# broken into, and against actionlint; needs no network. It says which of the three is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

checked=0
# check PROGRAM COMMAND...
check() {
    local program=$1
    shift
    if command -v "$program" >/dev/null; then
        printf '\n$ %s\n' "$*"
        "$@"
        checked=$((checked + 1))
    else
        printf '\nworkflows-check.sh: %s is not installed\n' "$program"
    fi
}
check check-jsonschema check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check zizmor zizmor --offline .github/workflows
check actionlint actionlint
[ $checked -gt 0 ] || exit 1
