#!/usr/bin/env bash
# image.sh [DIR]: makes DIR/toller-VERSION-image.tar, an OCI archive, from the archives that release.sh and cross.sh
# left in DIR, or makes this machine's first. The image is for every processor that has an archive there, and holds
# the program and its licences. The same archives give the same image. Load it with one of
#
#   podman load -i FILE          docker load -i FILE (25 or newer)
#   k3s ctr images import FILE   kind load image-archive FILE
#   skopeo copy --all oci-archive:FILE docker://registry.example.com/toller:VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in python3 jq; do
    command -v "$tool" >/dev/null || {
        echo "image.sh: $tool is missing" >&2
        exit 1
    }
done
umask 022
export LC_ALL=C.UTF-8

target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
dist=$(realpath -m "${1:-$target/dist}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# found: the archives that are there, unpacked, as image.py wants them.
found() {
    trees=() lacking=()
    local triple name
    for triple in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        name=toller-$version-$triple
        if [ ! -f "$dist/$name.tar.gz" ]; then
            lacking+=("${triple%%-*}")
            continue
        fi
        (cd "$dist" && sha256sum --quiet -c "$name.tar.gz.sha256")
        tar -xzf "$dist/$name.tar.gz" -C "$stage"
        trees+=("$stage/$name:$triple")
    done
}
found
if [ ${#trees[@]} = 0 ]; then
    scripts/release.sh "$dist" >&2
    found
fi
# Of archives that were made of different commits, the newest one's time.
SOURCE_DATE_EPOCH=$(stat -c %Y "$stage"/*/toller | sort -n | tail -n 1)
export SOURCE_DATE_EPOCH
image=$dist/toller-$version-image.tar
python3 scripts/packaging/image.py "$image" "${trees[@]}"
[ ${#lacking[@]} = 0 ] || echo "image.sh: there is no archive for ${lacking[*]} in $dist, so the image is not for that" >&2
printf '%s\n' "$image"
