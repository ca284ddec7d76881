#!/usr/bin/env bash
# sums.sh DIR FROM TAG: makes DIR the release TAG that will lie at the URL FROM: install.sh with that place in it, and
# SHA256SUMS of everything. Ends with an error if TAG is not this version or if something that ships is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."

dist=$(realpath "${1:?which folder}") from=${2:?which URL} tag=${3:?which tag}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
die() {
    printf 'sums.sh: %s\n' "$*" >&2
    exit 1
}
[ "$tag" = "v$version" ] || die "the tag is $tag, and Cargo.toml has version $version"

sed "s|@FROM@|$from|" scripts/install.sh >"$dist/install.sh"
chmod 755 "$dist/install.sh"
files=(install.sh "toller-$version-image.tar" "toller-$version-vendored.tar.xz"
    "toller-$version-"{x86_64,aarch64}-unknown-linux-gnu.tar.gz "toller_$version-1_"{amd64,arm64}.deb)
cd "$dist"
for processor in x86_64 aarch64; do
    files+=("toller-$version-py3-none-manylinux_2_17_$processor.manylinux2014_$processor.musllinux_1_1_$processor.whl")
done
for file in "${files[@]}"; do [ -s "$file" ] || die "$file is not in $dist"; done
processors=$(tar -xOf "toller-$version-image.tar" --wildcards 'blobs/sha256/*' | grep -aoE '"architecture":"[a-z0-9]+"' | sort -u | wc -l)
[ "$processors" = 2 ] || die "the image is not for both processors"
sha256sum "${files[@]}" | tee SHA256SUMS
