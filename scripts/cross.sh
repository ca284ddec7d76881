#!/usr/bin/env bash
# cross.sh [--root FOLDER] [DIR]: makes DIR/toller-VERSION-aarch64-unknown-linux-gnu.tar.gz on an x86-64 machine.
#
# The committed source is built by release.sh in a root of Debian 13 with Rust from its backports, where there is
# no network by then. Nothing is installed on this machine. FOLDER keeps the root, what was built and a compiler
# cache from one run to the next; one that was stopped goes on where it was. clang compiles, since it takes a
# quarter less time over DuckDB than gcc. Needs root and debootstrap. The first run takes some 60 CPU-minutes;
# JOBS says on how many processors at once.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'cross.sh: %s\n' "$*" >&2
    exit 1
}
triple=aarch64-unknown-linux-gnu
kept=${XDG_CACHE_HOME:-$HOME/.cache}/toller/cross
if [ "${1-}" = --root ]; then
    kept=$(realpath -m "${2:?--root needs a folder}")
    shift 2
fi
root=$kept/root

if [ -z "${TOLLER_CROSS_INSIDE-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root, to make a root and to chroot"
    for tool in debootstrap unshare chroot jq xz git cargo; do
        command -v "$tool" >/dev/null || die "$tool is missing"
    done
    target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
    dist=$(realpath -m "${1:-$target/dist}")
    rm -rf "$kept"/{source,dist}
    mkdir -p "$kept"/{ccache,target,source,dist} "$dist"
    scripts/vendor.sh "$kept/source" >/dev/null
    TOLLER_CROSS_INSIDE=1 unshare --mount --pid --fork --kill-child scripts/cross.sh --root "$kept"
    cp "$kept/dist/"*"-$triple.tar.gz"* "$dist/"
    ls "$dist/"*"-$triple.tar.gz"
    exit
fi

# there COMMAND...: runs it in the root, with an environment of its own.
there() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root chroot "$root" "$@"
}
if [ ! -e "$root/.complete" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates trixie "$root" >&2
    cat >"$root/etc/apt/sources.list" <<'APT'
deb http://deb.debian.org/debian trixie main
deb http://deb.debian.org/debian trixie-backports main
APT
    printf 'APT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/lean"
    there dpkg --add-architecture arm64
    there apt-get update -q >&2
    there apt-get install -q -y clang ccache g++ g++-aarch64-linux-gnu jq qemu-user >&2
    there apt-get install -q -y -t trixie-backports rustc cargo libstd-rust-dev libstd-rust-dev:arm64 >&2
    there apt-get clean
    touch "$root/.complete"
fi

# The places are the same in every root, so that the bytes are, too.
mkdir -p "$root"/{ccache,target,toller,dist,cargo}
for place in ccache target dist; do mount --bind "$kept/$place" "$root/$place"; done
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/toller"
mount --bind /dev "$root/dev"
tar -xJf "$kept"/source/toller-*-vendored.tar.xz -C "$root/toller" --strip-components 1
upper=AARCH64_UNKNOWN_LINUX_GNU
# shellcheck disable=SC2016 # for the shell in the root
there env CARGO_HOME=/cargo CARGO_TARGET_DIR=/target CARGO_BUILD_TARGET=$triple ${JOBS:+CARGO_BUILD_JOBS=$JOBS} \
    CCACHE_DIR=/ccache CC="ccache clang --target=aarch64-linux-gnu" CXX="ccache clang++ --target=aarch64-linux-gnu" \
    HOST_CC=gcc HOST_CXX=g++ STRIP=aarch64-linux-gnu-strip CARGO_TARGET_${upper}_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_${upper}_RUNNER=qemu-aarch64 unshare --net sh -c 'cd /toller && exec scripts/release.sh /dist' >&2
