#!/usr/bin/env bash
# wheel.sh [DIR]: makes a wheel in DIR, for pip, uv and pipx, from the archive that release.sh left in DIR, or makes
# that first. The same archive gives the same wheel. CARGO_BUILD_TARGET names another processor, as for cargo.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in python3 jq; do
    command -v "$tool" >/dev/null || {
        echo "wheel.sh: $tool is missing" >&2
        exit 1
    }
done
umask 022
export LC_ALL=C.UTF-8

target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
dist=$(realpath -m "${1:-$target/dist}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
triple=${CARGO_BUILD_TARGET:-$(rustc --print host-tuple)}
name=toller-$version-$triple
[ -f "$dist/$name.tar.gz" ] || scripts/release.sh "$dist" >&2
(cd "$dist" && sha256sum --quiet -c "$name.tar.gz.sha256")

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tar -xzf "$dist/$name.tar.gz" -C "$stage"
SOURCE_DATE_EPOCH=$(stat -c %Y "$stage/$name/toller")
export SOURCE_DATE_EPOCH
python3 scripts/packaging/wheel.py "$stage/$name" "$triple" "$dist"
