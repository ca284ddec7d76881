#!/usr/bin/env bash
# chroot-check.sh [--root FOLDER] [--toller FILE]: shows that the binary needs nothing of the system it runs on.
#
# In a root with nothing in it, then in one that has only /etc/resolv.conf, then in a Debian trixie whose
# nsswitch.conf names modules that would kill a static glibc: load, fetch, verify, names found and names not.
# Works in namespaces of its own with nothing but loopback, where a dnsmasq can have port 53. Needs root,
# debootstrap, dnsmasq and python3. FOLDER keeps the trixie from one run to the next.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'chroot-check.sh: %s\n' "$*" >&2
    exit 1
}
kept='' toller=''
while [ $# -gt 0 ]; do
    case $1 in
    --root) kept=$2 ;;
    --toller) toller=$2 ;;
    *) die "want: [--root FOLDER] [--toller FILE]" ;;
    esac
    shift 2
done
if [ -z "${TOLLER_CHECK_INSIDE-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root, to make namespaces and to chroot"
    for tool in debootstrap dnsmasq python3 jq unshare chroot file readelf; do
        command -v "$tool" >/dev/null || die "$tool is missing"
    done
    built=$(scripts/build.sh --bin toller --example demo-origin)
    toller=${toller:-$(grep '/toller$' <<<"$built")}
    origin=$(grep '/demo-origin$' <<<"$built")
    root=${kept:-$(mktemp -d)}
    modules=$root/usr/lib/$(uname -m)-linux-gnu
    if [ ! -e "$modules/libnss_resolve.so.2" ]; then
        # The daemons behind the modules do not start in a bare root, and are not wanted: the files are enough.
        debootstrap --variant=minbase --include=libnss-resolve,libnss-myhostname,libnss-mymachines trixie "$root" >"$root.log" 2>&1 ||
            [ -e "$modules/libnss_resolve.so.2" ] || die "debootstrap failed: $(tail -n 3 "$root.log")"
    fi
    code=0
    TOLLER_CHECK_INSIDE=1 TOLLER_CHECK_ORIGIN=$origin TOLLER_CHECK_TRIXIE=$root unshare --mount --net --pid --fork --kill-child --mount-proc \
        scripts/chroot-check.sh --toller "$toller" || code=$?
    [ -n "$kept" ] || rm -rf "$root" "$root.log"
    exit "$code"
fi

ip link set lo up
origin=$TOLLER_CHECK_ORIGIN trixie=$TOLLER_CHECK_TRIXIE
# The settings of whoever runs this are not those of the roots.
unset "${!TOLLER_@}" "${!SSL_@}" "${!http@}" "${!HTTP@}" ALL_PROXY all_proxy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '\n== %s\n' "$*"; }
# want CODE WHAT COMMAND...: runs it and holds its exit code against the one wanted.
want() {
    local wanted=$1 code=0
    shift
    printf '$ %s\n' "${*//$work/...}"
    "$@" || code=$?
    [ "$code" = "$wanted" ] || die "exit code $code in place of $wanted"
}

say "the file"
file -b "$toller" | cut -d, -f1-4
if readelf -lW "$toller" | grep -F INTERP; then die "it is dynamic"; fi

# Two origins on loopback: one with TLS for 127.0.0.1 and localhost, one without for whatever name.
mkfifo "$work/hold"
"$origin" --folder "$work/origin" --count 300 <"$work/hold" &
exec {hold}>"$work/hold"
until [ -e "$work/origin/origin.url" ]; do sleep 0.1; done
port=$(sed 's/.*:\([0-9]*\)\/.*/\1/' "$work/origin/origin.url")
mkdir "$work/served"
(cd "$work/served" && exec python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1) &
dnsmasq --no-daemon --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces --user=root --pid-file= \
    --local=/toller.test/ --address=/thumbs.toller.test/127.0.0.1 2>"$work/dnsmasq.log" &

say "a root with nothing in it"
root=$work/empty
mkdir "$root"
cp "$toller" "$root/toller"
cp "$work/origin/guids.txt" "$work/origin/ca.pem" "$root/"
find "$root" -mindepth 1 -printf '%P  %s bytes\n'
want 0 chroot "$root" /toller load --warehouse /w.duckdb /guids.txt
want 0 chroot "$root" /toller fetch --warehouse /w.duckdb --url "https://127.0.0.1:$port/thumbs/{guid}.jpg" --dest /thumbs --ca-cert /ca.pem -q
want 0 chroot "$root" /toller verify --warehouse /w.duckdb
cp -r "$root/thumbs" "$work/served/"

# names ROOT: names found and not found through the root's own configuration.
names() {
    local root=$1
    head -n 3 "$work/origin/guids.txt" >"$root/three.txt"
    rm -rf "$root/named.duckdb" "$root/named"
    want 0 chroot "$root" /toller load --warehouse /named.duckdb /three.txt
    want 3 chroot "$root" /toller fetch --warehouse /named.duckdb --url 'http://nowhere.toller.test:8080/thumbs/{guid}.jpg' \
        --dest /named --retries 0 -q --json | tee "$work/said"
    sed -n '/^{/p' "$work/said" | jq -e '.failures == {"dns": 3}' >/dev/null || die "a missing name is no failure of kind dns"
    want 0 chroot "$root" /toller fetch --warehouse /named.duckdb --url 'http://thumbs.toller.test:8080/thumbs/{guid}.jpg' \
        --dest /named -q --json
}

say "the same root with an /etc/resolv.conf, and a dnsmasq behind it"
mkdir "$root/etc"
echo "nameserver 127.0.0.1" >"$root/etc/resolv.conf"
names "$root"

say "and with an /etc/hosts"
echo "127.0.0.1 byhosts" >"$root/etc/hosts"
rm -rf "$root/named.duckdb" "$root/named"
want 0 chroot "$root" /toller load --warehouse /named.duckdb /three.txt
want 0 chroot "$root" /toller fetch --warehouse /named.duckdb --url 'http://byhosts:8080/thumbs/{guid}.jpg' --dest /named -q --json

root=$trixie
line='hosts: files mymachines myhostname resolve dns'
say "a Debian $(cat "$root/etc/debian_version") with $line"
sed -i '/^hosts:/d' "$root/etc/nsswitch.conf"
echo "$line" >>"$root/etc/nsswitch.conf"
rm -f "$root/etc/resolv.conf"
echo "nameserver 127.0.0.1" >"$root/etc/resolv.conf"
cp "$toller" "$root/toller"
if command -v gcc >/dev/null; then
    # What toller would do there without its __nss_configure_lookup.
    cat >"$work/plain.c" <<'C'
#include <netdb.h>
#include <stdio.h>
int main(void) {
    struct addrinfo *found;
    printf("a plain static program: %s\n", gai_strerror(getaddrinfo("thumbs.toller.test", "80", 0, &found)));
    return 0;
}
C
    gcc -static -w -o "$root/plain" "$work/plain.c" 2>/dev/null
    code=0
    chroot "$root" /plain || code=$?
    echo "a plain static program ended with $code$([ "$code" -le 128 ] || echo ", by SIG$(kill -l "$code")")"
fi
names "$root"
rm -rf "$root/toller" "$root/plain" "$root/named.duckdb" "$root/named" "$root/three.txt"

exec {hold}>&-
printf '\nchroot-check.sh: all as it should be\n'
