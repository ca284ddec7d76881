#!/bin/sh
# install.sh: gets the release that it belongs to, checks its sum, and puts toller into ~/.local/bin.
#
#   curl -fsSL https://…/install.sh | sh
#
# TOLLER_INSTALL_TO names another folder, TOLLER_INSTALL_FROM another place with SHA256SUMS and the archives in it.
# What is there already is replaced in one step, also while it runs.
set -eu

die() {
    printf 'install.sh: %s\n' "$1" >&2
    [ -z "${2-}" ] || printf '%s\n' "$2" >&2
    exit 1
}

# get FILE: copies a file of the release into the working folder.
get() {
    if command -v curl >/dev/null; then
        curl -fsSL --retry 3 -o "$work/$1" "$from/$1"
    elif command -v wget >/dev/null; then
        wget -q -O "$work/$1" "$from/$1"
    else
        die "neither curl nor wget is here" "get one of them: apt-get install curl"
    fi || die "downloading: $from/$1: it did not come"
}

# All of it is read before any of it is run: a download that is cut does nothing.
main() {
    # The release's own copy has its place here, see packaging/sums.sh.
    from=${TOLLER_INSTALL_FROM:-@FROM@}
    case $from in @*) die "this copy belongs to no release" "say where one is: TOLLER_INSTALL_FROM=https://…" ;; esac
    to=${TOLLER_INSTALL_TO:-${HOME:?}/.local/bin}
    [ "$(uname -s)" = Linux ] || die "toller is for Linux, this is $(uname -s)"
    case $(uname -m) in
    x86_64 | amd64) processor=x86_64 ;;
    aarch64 | arm64) processor=aarch64 ;;
    *) die "toller is for x86-64 and aarch64, this is $(uname -m)" ;;
    esac

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    get SHA256SUMS
    line=$(grep -E "^[0-9a-f]{64} [ *]toller-[0-9][^/]*-$processor-unknown-linux-gnu\.tar\.gz\$" "$work/SHA256SUMS") ||
        die "reading: $from/SHA256SUMS: it names no archive for $processor"
    archive=${line##*[ *]}
    get "$archive"
    (cd "$work" && printf '%s\n' "$line" | sha256sum -c - >/dev/null 2>&1) ||
        die "checking: $archive: its SHA-256 is not the one in SHA256SUMS" "nothing was installed; try again later"
    tar -xzf "$work/$archive" -C "$work"
    program=$work/${archive%.tar.gz}/toller
    version=$("$program" -V) || die "starting: $archive: the program does not run here"

    mkdir -p "$to"
    cp "$program" "$to/.toller.$$"
    chmod 755 "$to/.toller.$$"
    mv -f "$to/.toller.$$" "$to/toller"
    printf '%s is in %s\n' "$version" "$to/toller"
    case :$PATH: in *":$to:"*) ;; *) printf 'that folder is not on your PATH\n' ;; esac
}

main
