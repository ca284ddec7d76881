#!/usr/bin/env bash
# emulated-check.sh PROGRAM [KILLS]: the tests, KILLS (40) kills of the kill loop and the chroot check, with an aarch64
# PROGRAM on an x86-64 machine. While it works, the kernel gives such programs to qemu. Needs root and qemu-user-static.
#
# The tests that strace a program or look into its memory see qemu in its place, and clocks that run out tell of an
# emulator's speed: those that fail here and not on their own processor are told apart by their names.
set -euo pipefail
cd "$(dirname "$0")/../.."

TOLLER_TEST_BINARY=$(realpath "${1:?which program}") kills=${2:-40}
export TOLLER_TEST_BINARY
registry=/proc/sys/fs/binfmt_misc
[ -e $registry/register ] || mount -t binfmt_misc binfmt_misc $registry
if [ ! -e $registry/toller-aarch64 ]; then
    # As qemu's own documentation has it: an ELF file for aarch64. F: the interpreter is opened now, so that it serves in
    # every root; P: the program keeps the name that it was called by.
    printf '%s' ':toller-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:OPF' >$registry/register
    trap 'echo -1 >$registry/toller-aarch64' EXIT
fi
file -b "$TOLLER_TEST_BINARY"
"$TOLLER_TEST_BINARY" --version
scripts/chroot-check.sh --toller "$TOLLER_TEST_BINARY"
scripts/kill-loop.sh "$kills"
cargo test --release --locked --test toller
