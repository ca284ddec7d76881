#!/usr/bin/env bash
# release.sh [DIR]: makes DIR/toller-VERSION-TRIPLE.tar.gz: binary, man page, completions, README, docs, licences, SHA256SUMS.
#
# The same source, compiler and dependencies give the same bytes, wherever they are built: no path and no time
# of the building machine is in them. Its flags are not those of a plain build, and two builds that take turns
# in one folder compile DuckDB each time: name another one by CARGO_TARGET_DIR, or, where a compiler cache knows
# the usual one, run this under packaging/apart.sh. CARGO_BUILD_TARGET names another processor, as for cargo.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'release.sh: %s\n' "$*" >&2
    exit 1
}
strip=${STRIP:-strip}
for tool in jq gzip sha256sum readelf "$strip"; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done
umask 022

root=$PWD
target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
dist=$(realpath -m "${1:-$target/dist}")
cargo_home=${CARGO_HOME:-$HOME/.cargo}
triple=${CARGO_BUILD_TARGET:-$(rustc --print host-tuple)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=toller-$version-$triple

# What was built: from git, or from the file that vendor.sh leaves where there is no git.
if [ -f .commit ]; then
    read -r commit SOURCE_DATE_EPOCH <.commit
else
    commit=$(git describe --always --dirty --abbrev=12)
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
date=$(date -d "@$SOURCE_DATE_EPOCH" +%F)
TOLLER_BUILD="$commit $date, $(rustc --version | cut -d' ' -f1-2)"
export TOLLER_BUILD

# Panic locations keep crate and line, and lose the machine. What is vendored looks like what was fetched.
flags=(-C target-feature=+crt-static)
flags+=("--remap-path-prefix=$cargo_home=/cargo" "--remap-path-prefix=$target=/target" "--remap-path-prefix=$root=/toller")
flags+=("--remap-path-prefix=$(rustc --print sysroot)=/rust" "--remap-path-prefix=$root/vendor=/crates")
for registry in "$cargo_home"/registry/src/*; do
    flags+=("--remap-path-prefix=$registry=/crates")
done
CARGO_ENCODED_RUSTFLAGS=$(printf '\x1f%s' "${flags[@]}" | cut -c2-)
export CARGO_ENCODED_RUSTFLAGS
map="-ffile-prefix-map=$target=/target -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$root=/toller"
export CFLAGS="${CFLAGS-} $map" CXXFLAGS="${CXXFLAGS-} $map"
# For ccache the map is in the preprocessed text, where it matters, and need not be in the key.
export CCACHE_NODIRECT=1 CCACHE_IGNOREOPTIONS="-ffile-prefix-map=*"

built=$(scripts/build.sh --bin toller --example docs)
toller=$(grep '/toller$' <<<"$built")
docs=$(grep '/docs$' <<<"$built")

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/$name
mkdir -p "$tree/completions"
"$strip" --strip-all -o "$tree/toller" "$toller"
# What runs another processor's programs here, by cargo's own name for it.
runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$triple")_RUNNER
read -ra runner <<<"${!runner-}"
env -i PATH="$PATH" "${runner[@]}" "$docs" "$stage/docs" "$date"
cp "$stage/docs/toller.1" "$tree/"
cp "$stage/docs/toller.bash" "$stage/docs/_toller" "$stage/docs/toller.fish" "$tree/completions/"
cp -r README.md docs LICENSE-MIT LICENSE-APACHE "$tree/"
scripts/packaging/third-party.sh >"$tree/THIRD-PARTY.txt"

if readelf -dW "$tree/toller" | grep -F '(NEEDED)' >&2; then
    die "the binary is not static"
fi
for path in "$HOME" "$root" "$target" "$cargo_home" "$(rustc --print sysroot)"; do
    # A distribution's own places are in anything, and one that has the name it is mapped to (cross.sh) tells nothing.
    case $path in / | /usr | /toller | /target | /cargo | /rust) continue ;; esac
    [ "${#path}" -gt 3 ] || continue
    if grep -qaF -e "$path/" "$tree/toller"; then
        die "a path of this machine is in the binary: $(strings -n 6 "$tree/toller" | grep -F -m 3 -e "$path/")"
    fi
done

(cd "$tree" && find . -type f -printf '%P\n' | sort | xargs sha256sum >"$stage/sums")
mv "$stage/sums" "$tree/SHA256SUMS"
chmod -R a+rX,go-w "$tree"
mkdir -p "$dist"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar \
    -C "$stage" -cf - "$name" | gzip -9n >"$dist/$name.tar.gz"
(cd "$dist" && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
printf '%s\n' "$dist/$name.tar.gz"
