#!/usr/bin/env bash
# image-check.sh IMAGE: loads the OCI archive IMAGE and runs it as a cluster would, without root, capabilities or a root
# that can be written to: load, fetch, verify, pipe and merge in a volume, from a server on loopback. Needs podman and python3.
# PODMAN may be more words than one: PODMAN="podman --runtime runc".
set -euo pipefail

image=$(realpath "${1:?which image}")
read -ra podman <<<"${PODMAN:-podman}"
printf '%s: %s bytes\n' "$(basename "$image")" "$(stat -c %s "$image")"
work=$(mktemp -d)
serving=
# What podman's users wrote may be nobody else's to remove.
trap '[ -z "$serving" ] || kill "$serving"; rm -rf "$work" 2>/dev/null || "${podman[@]}" unshare rm -rf "$work"' EXIT
mkdir "$work"/{served,data}
chmod 755 "$work"
chown 65532:65532 "$work/data" 2>/dev/null || chmod 777 "$work/data"
for guid in a b c; do echo "$guid" >"$work/served/$guid.txt"; done
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/served" 0 >"$work/words" 2>/dev/null &
serving=$!
until port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/words") && [ -n "$port" ]; do sleep 0.1; done

name=$("${podman[@]}" load -q -i "$image" | sed -n 's/^Loaded image: *//p')
# The limits are ones that nobody needs a capability to set.
toller() {
    printf '\n$ toller %s\n' "$*"
    "${podman[@]}" run --rm --interactive --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges \
        --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host --volume "$work/data:/data:Z" "$name" "$@"
}
toller --version
printf '%s\n' a b c | toller load --warehouse images.duckdb -
toller fetch --warehouse images.duckdb --url "http://127.0.0.1:$port/{guid}.txt" --dest thumbs --expect any --progress none
toller verify --warehouse images.duckdb
echo a | toller pipe --url "http://127.0.0.1:$port/{guid}.txt" --dest thumbs --expect any --progress none | grep '^{' >"$work/outcomes"
toller merge --warehouse images.duckdb - <"$work/outcomes"
[ "$(cat "$work"/data/thumbs/?.txt | tr '\n' ' ')" = "a b c " ]
owner=$(stat -c %u "$work/data/thumbs/a.txt")
[ "$owner" != 0 ] || { echo "image-check.sh: it runs as root" >&2 && exit 1; }
code=0
toller load --warehouse /images.duckdb - </dev/null 2>"$work/refused" || code=$?
cat "$work/refused"
if [ $code != 1 ] || ! grep -q 'Read-only file system' "$work/refused"; then
    echo "image-check.sh: its root can be written to" >&2
    exit 1
fi
printf '\nimage-check.sh: all as it should be; the files are of user %s\n' "$owner"
