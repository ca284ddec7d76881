#!/usr/bin/env bash
# check.sh: everything that must hold before a change is taken. Always the release profile: another profile
# would compile DuckDB once more.
set -euo pipefail
cd "$(dirname "$0")/.."

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

run cargo fmt --check
run cargo clippy --release --locked --all-targets -- -D warnings
run cargo test --release --locked
run env RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
run cargo bench --locked --bench own-costs -- 10000
if command -v cargo-deny >/dev/null; then
    run cargo deny check bans licenses sources
else
    printf '\ncargo-deny is not installed: licences and sources of the dependencies were not checked\n'
fi
if command -v shellcheck >/dev/null; then
    scripts=()
    while read -r file; do
        IFS= read -r first <"$file" || true
        [[ $first =~ ^#!.*[/\ ](ba)?sh ]] && scripts+=("$file")
    done < <(find scripts .ci -type f 2>/dev/null | sort)
    run shellcheck "${scripts[@]}"
else
    printf '\nshellcheck is not installed: the scripts were not checked\n'
fi
printf '\nall checks passed\n'
