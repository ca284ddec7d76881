#!/usr/bin/env bash
# third-party.sh: prints the licences of everything that is in the binary, from the dependency tree.
#
# Each distinct text is printed once, where it comes first.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=$(cargo metadata --format-version 1 --locked --filter-platform "${CARGO_BUILD_TARGET:-$(rustc --print host-tuple)}" |
    jq -r '.packages[] | "\(.name) v\(.version)\t\(.manifest_path)\t\(.license)\t\(.repository)"')
tree=$(cargo tree --locked --edges normal,no-proc-macro --prefix none --format '{p}' | cut -d' ' -f1,2 | sort -u)

printf 'toller is made of these. Each Rust crate is followed by the licence files it came with.\n\n'
cat scripts/packaging/bundled.txt
declare -A first
while read -r crate; do
    [[ $crate != toller\ * ]] || continue
    IFS=$'\t' read -r _ manifest licence repository < <(grep -F -m 1 -e "$crate"$'\t' <<<"$packages")
    printf '\n=== %s\n%s\n%s\n' "$crate" "$licence" "$repository"
    folder=$(dirname "$manifest")
    while read -r file; do
        sum=$(tr -s '[:space:]' ' ' <"$folder/$file" | sha256sum)
        if [ -n "${first[$sum]-}" ]; then
            printf '%s: as for %s\n' "$file" "${first[$sum]}"
        else
            first[$sum]=$crate
            printf '\n--- %s\n' "$file"
            cat "$folder/$file"
        fi
    done < <(find "$folder" -maxdepth 1 -type f \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \
        -o -iname 'UNLICENSE*' \) -printf '%f\n' | LC_ALL=C sort)
done <<<"$tree"
