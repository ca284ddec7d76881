#!/usr/bin/env bash
# vendor.sh [DIR]: makes DIR/toller-VERSION-vendored.tar.xz: the committed source, all dependencies, and the
# cargo configuration that uses them, to be built where there is no network.
#
# What is never compiled on Linux is left out, as far as cargo lets one: a crate for other systems keeps its
# manifest, which the resolver reads, and loses its contents; the others lose tests, benches and examples. A
# file that is left out leaves the list in .cargo-checksum.json too; every other file is still checked.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in git jq xz; do
    command -v "$tool" >/dev/null || {
        echo "vendor.sh: $tool is missing" >&2
        exit 1
    }
done
umask 022
export LC_ALL=C

target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
dist=$(realpath -m "${1:-$target/dist}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=toller-$version
epoch=$(git log -1 --format=%ct)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
git archive --prefix="$name/" HEAD | tar -x -C "$stage"
cd "$stage/$name"
printf '%s %s\n' "$(git -C "$OLDPWD" describe --always --abbrev=12 HEAD)" "$epoch" >.commit
cargo vendor --locked --versioned-dirs vendor >"$stage/sources.toml" 2>"$stage/words" || {
    tail -n 5 "$stage/words" >&2
    exit 1
}
{
    echo
    echo "# The dependencies lie in vendor/, and there is no network."
    cat "$stage/sources.toml"
    printf '\n[net]\noffline = true\n'
} >>.cargo/config.toml
before=$(du -sm vendor | cut -f1)

# Which crates any build, test or check on Linux can want.
for triple in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
    cargo tree --locked --offline --edges normal,build,dev --prefix none --format '{p}' --target "$triple"
done | cut -d' ' -f1,2 | sed 's/ v/-/' | sort -u >"$stage/wanted"

stubs=0
for crate in vendor/*/; do
    crate=${crate%/}
    sums=$crate/.cargo-checksum.json
    if ! grep -qxF -e "${crate#vendor/}" "$stage/wanted"; then
        find "$crate" -mindepth 1 -maxdepth 1 ! -name Cargo.toml ! -name .cargo-checksum.json -exec rm -rf {} +
        # The manifest may name a library, a build script and programs; only their names are read.
        library=$crate/$(sed -n '/^\[lib\]/,/^\[/s/^path = "\(.*\)"/\1/p' "$crate/Cargo.toml")
        [ "$library" != "$crate/" ] || library=$crate/src/lib.rs
        mkdir -p "$(dirname "$library")"
        : >"$library"
        stubs=$((stubs + 1))
    else
        for folder in tests benches benchmarks examples fuzz .github ci; do
            # clap's documentation has an example of it in itself, for one.
            if [ -d "$crate/$folder" ] && ! grep -rqsE "\"[^\"]*\b$folder/" --include='*.rs' "$crate/src" "$crate/build.rs"; then
                rm -rf "${crate:?}/$folder"
            fi
        done
    fi
    case $crate in
    vendor/ring-*)
        # Assembled for systems that are not Linux.
        rm -f "$crate"/pregenerated/*-{macosx.S,ios64.S,win64.S,win32n.asm,nasm.o,elf32.S}
        ;;
    vendor/linux-raw-sys-*)
        find "$crate/src" -mindepth 1 -maxdepth 1 -type d ! -name x86_64 ! -name aarch64 -exec rm -rf {} +
        ;;
    esac
    find "$crate" -type f -printf '%P\n' | jq -Rn --slurpfile sums "$sums" '[inputs] as $there | $sums[0]
        | .files |= with_entries(select(.key as $key | $there | index($key)))' >"$stage/sums.json"
    cat "$stage/sums.json" >"$sums"
done
echo "vendor.sh: $(find vendor -mindepth 1 -maxdepth 1 | wc -l) crates, $stubs of them for other systems: $before MB, trimmed to $(du -sm vendor | cut -f1) MB" >&2

# Cargo must be able to plan a build from this alone.
CARGO_HOME=$stage/home cargo metadata --offline --locked --format-version 1 >/dev/null

mkdir -p "$dist"
tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --format=gnu -C "$stage" -cf - "$name" |
    xz -9 --threads=1 >"$dist/$name-vendored.tar.xz"
(cd "$dist" && sha256sum "$name-vendored.tar.xz" | tee "$name-vendored.tar.xz.sha256")
du -h "$dist/$name-vendored.tar.xz" >&2
printf '%s\n' "$dist/$name-vendored.tar.xz"
