#!/usr/bin/env bash
# deb-check.sh DEB ROOT: lintian, then install, use, remove and purge DEB in a copy of the Debian root ROOT
# (one that chroot-check.sh --root left will do). Needs root.
set -euo pipefail

deb=$(realpath "${1:?which package}") kept=$(realpath "${2:?which root}")
if [ -z "${TOLLER_CHECK_INSIDE-}" ]; then
    if command -v lintian >/dev/null; then
        lintian --allow-root --profile debian --fail-on error --show-overrides "$deb"
    else
        echo "deb-check.sh: lintian is not installed: the package was not held against it"
    fi
    TOLLER_CHECK_INSIDE=1 exec unshare --mount --net --pid --fork --kill-child "$0" "$deb" "$kept"
fi

# What is done to the copy stays in memory.
work=$(mktemp -d)
mount -t tmpfs tmpfs "$work"
mkdir "$work"/{upper,work,root}
mount -t overlay -o "lowerdir=$kept,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
trap 'umount -l "$root" "$work" && rmdir "$work"' EXIT
run() {
    printf '\n$ %s\n' "$*"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}
# apt would fetch adduser, and there is no network here; what is asked for is that the package itself goes well.
cp "$deb" "$root/toller.deb"
find "$root" -xdev -not -path "$root/proc*" -printf '%P\n' | sort >"$work/before"
run dpkg --force-depends --install /toller.deb
run dpkg --status toller
run toller --version
run getent passwd toller
run ls -ld /var/lib/toller /etc/toller
run sh -c 'zcat /usr/share/man/man1/toller.1.gz | head -n 1; bash -n /usr/share/bash-completion/completions/toller'
if [ -x "$root/usr/bin/systemd-analyze" ]; then
    cp "$root/usr/share/doc/toller/examples/NAME.env" "$root/etc/toller/test.env"
    run systemd-analyze verify --man=no toller@test.service toller@test.timer
    run systemd-analyze security --offline=true --no-pager toller@test.service | tail -n 1
fi
# As the unit does it: its user, its settings, its command line. Nothing is pending in this warehouse.
echo a | run toller load --warehouse /var/lib/toller/images.duckdb -
run chown toller: /var/lib/toller/images.duckdb
# shellcheck disable=SC2016 # for the shell in the root
run sh -c 'set -a; . /usr/share/doc/toller/examples/NAME.env; exec setpriv --reuid toller --regid toller --clear-groups \
    $(sed -n "s/^ExecStart=//p" /usr/lib/systemd/system/toller@.service) --dry-run'
run dpkg --remove toller
run dpkg --purge toller
find "$root" -xdev -not -path "$root/proc*" -printf '%P\n' | sort >"$work/after"
printf '\nleft after the purge:\n'
comm -13 "$work/before" "$work/after"
if comm -13 "$work/before" "$work/after" | grep -E '^(usr/(bin|lib/systemd|share)|etc/toller)'; then
    echo "deb-check.sh: that is too much" >&2
    exit 1
fi
echo "deb-check.sh: all as it should be"
