#!/usr/bin/env bash
# power-cut.sh [ROUNDS [FILE_SYSTEM...]]: cuts the power of a disk under `toller fetch`, ROUNDS times (40 unless told)
# for each file system (ext4 xfs btrfs bindfs unless told; bindfs is ext4 seen through FUSE). Warehouse and destination
# lie on a loop device over a file. At a random moment, every other time while the warehouse is being written, that
# file is cloned in one instant (FICLONE, on an XFS made for it), and the clone is mounted as after a power cut: the
# warehouse opens, every row that says done has a file with the origin's very bytes, and a fetch on the clone brings
# all the rest home.
#
# What the clone holds is what the device had been handed, flushed or not: a disk that keeps its cache. What the file
# system had not written yet is lost, and that is where files without content come from. A disk that also loses or
# reorders what it was handed without a flush is not played.
#
# It needs root, loop devices, and the programs of the file systems; it leaves nothing mounted.
set -euo pipefail
cd "$(dirname "$0")/.."

cuts=${1:-40}
case $cuts in *[!0-9]* | "") echo "usage: power-cut.sh [ROUNDS [FILE_SYSTEM...]]" >&2; exit 2 ;; esac
[ $# -eq 0 ] || shift
kinds=("$@")
[ $# -gt 0 ] || kinds=(ext4 xfs btrfs bindfs)
[ "$(id -u)" = 0 ] || { echo "power-cut.sh: mounting takes root" >&2; exit 2; }
count=1500
# With TOLLER and DEMO_ORIGIN another build is tried: an older one has to fail.
if [ -z "${TOLLER-}" ] || [ -z "${DEMO_ORIGIN-}" ]; then
    built=$(scripts/build.sh --bin toller --example demo-origin)
    TOLLER=$(grep '/toller$' <<<"$built") DEMO_ORIGIN=$(grep '/demo-origin$' <<<"$built")
fi
binary=$TOLLER origin=$DEMO_ORIGIN
unset "${!TOLLER_@}" TOLLER DEMO_ORIGIN
export NO_PROXY=localhost no_proxy=localhost LC_ALL=C

work=$(mktemp -d "${TMPDIR:-/tmp}/toller-power-cut.XXXXXX")
cd "$work"
mkdir disks disk seen copy
running='' serving='' hold='' mounted=()

mount_at() { # FOLDER, then what mount takes
    local at=$1
    shift
    mount "$@" "$at"
    mounted+=("$at")
}
unmount() {
    local at
    for at; do
        # Whoever has just been killed may hold it for a moment.
        for _ in $(seq 50); do
            umount "$at" 2>/dev/null && break
            sleep 0.1
        done
        ! mountpoint -q "$at" || umount --lazy "$at"
        local others=() one
        for one in "${mounted[@]}"; do [ "$one" = "$at" ] || others+=("$one"); done
        mounted=("${others[@]}")
    done
}
stop_fetch() {
    [ -n "$running" ] || return 0
    kill -9 "$running" 2>/dev/null || true
    { wait "$running" || true; } 2>/dev/null
    running=
}
finish() {
    local code=$? at
    stop_fetch
    if [ -n "$hold" ]; then
        exec {hold}>&-
        wait "$serving" || true
    fi
    while [ ${#mounted[@]} -gt 0 ]; do
        at=${mounted[-1]}
        unmount "$at"
    done
    # A loop device goes with its last mount.
    if [ "$code" = 0 ]; then rm -rf "$work"; else echo "power-cut.sh: kept $work" >&2; fi
}
trap finish EXIT
kind=start cut=0
die() {
    echo "power-cut.sh: $kind, cut $cut: $*" >&2
    exit 1
}

cp "$binary" toller
toller=$work/toller
exec {hold}> >(exec "$origin" --folder . --count $count --delay-ms 3 >origin.log)
serving=$!
while [ ! -e origin.url ]; do
    kill -0 "$serving" 2>/dev/null || die "the origin did not start"
    sleep 0.1
done
url=$(cat origin.url)
hashes() { (cd "$1" && find . -name '*.jpg' -print0 | xargs -0 -r sha256sum --) | sort; }
sort guids.txt >guids.sorted
sed "s|.*|url=\"${url%/thumbs/*}/thumbs/&.jpg\"\noutput=\"truth/&.jpg\"|" guids.txt >truth.curl
curl -fS --cacert ca.pem --create-dirs --parallel --parallel-max 16 --no-progress-meter --config truth.curl
hashes truth >truth.sums
[ "$(wc -l <truth.sums)" -eq $count ] || die "curl did not get all of the origin's thumbnails"
rm -r truth

# Where a file can be cloned in one instant.
truncate -s 4G disks.img
mkfs.xfs -q -m reflink=1 disks.img
mount_at disks -o loop disks.img

make_disk() {
    rm -f disks/disk.img
    truncate -s 512M disks/disk.img
    case $kind in
    ext4 | bindfs) mkfs.ext4 -q -F disks/disk.img ;;
    xfs) mkfs.xfs -q -f disks/disk.img ;;
    btrfs) mkfs.btrfs -q -f disks/disk.img >/dev/null ;;
    *) die "no such file system here" ;;
    esac
    mount_at disk -o loop disks/disk.img
    place=disk
    if [ "$kind" = bindfs ]; then
        bindfs disk seen
        mounted+=(seen)
        place=seen
    fi
    "$toller" load --warehouse $place/images.duckdb guids.txt >/dev/null
    # The disk has held this for long: the cut is to come while a fetch is under way.
    sync -f disk
}

# `fetch FOLDER [options]` of the warehouse in that folder, to a destination beside it.
fetch() {
    local at=$1
    shift
    exec "$toller" fetch --warehouse "$at/images.duckdb" --url "$url" --dest "$at/thumbs" --ca-cert ca.pem \
        --fanout 1 --batch 50 --batch-seconds 0.2 --quiet "$@" {hold}>&-
}

pause() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }

lies=0 torn=0 claimed=0
check_copy() {
    local said code=0
    # btrfs remembers the disk that was, which has the same name and is newer.
    [ "$kind" != btrfs ] || btrfs device scan --forget
    mount_at copy -o loop disks/copy.img
    "$toller" pending --warehouse copy/images.duckdb >undone.raw || die "the warehouse does not open"
    sort undone.raw >undone
    comm -23 guids.sorted undone >done.now
    mkdir -p copy/thumbs
    (cd copy/thumbs && find . -name '*.jpg' -print0 | xargs -0 -r sha256sum --) |
        sed 's|\./[^/]*/|./|' | sort >there.sums
    comm -12 there.sums truth.sums | sed 's|.*  \./\(.*\)\.jpg$|\1|' | sort >whole
    comm -23 there.sums truth.sums | sed 's|.*  \./\(.*\)\.jpg$|\1|' | sort >not.whole
    here=$(comm -23 done.now whole | wc -l)
    unclaimed=$(wc -l <not.whole)
    rows=$(wc -l <done.now)
    lies=$((lies + here)) torn=$((torn + unclaimed)) claimed=$((claimed + rows))
    (fetch copy) || code=$?
    [ $code = 0 ] || die "the fetch after the cut exits with $code"
    [ -z "$("$toller" pending --warehouse copy/images.duckdb)" ] || die "rows are pending after a whole fetch"
    (cd copy/thumbs && find . -name '*.jpg' -print0 | xargs -0 -r sha256sum --) | sed 's|\./[^/]*/|./|' | sort >end.sums
    wrong=$(comm -13 end.sums truth.sums | wc -l)
    said=$("$toller" status --warehouse copy/images.duckdb --json)
    case $said in '{"total":'$count',"done":'$count',"pending":0,'*) ;; *) die "status says: $said" ;; esac
    unmount copy
}

failed=0
for kind in "${kinds[@]}"; do
    lies=0 torn=0 claimed=0 bad=0 writing=0
    for cut in $(seq "$cuts"); do
        make_disk
        (fetch $place) &
        running=$!
        # Through FUSE each file takes as long as the disk needs to write it.
        [ "$kind" = bindfs ] && longest=12000 || longest=2500
        pause $((300 + RANDOM % longest))
        if [ $((cut % 2)) = 0 ]; then
            until [ -e $place/images.duckdb.wal ] || ! kill -0 "$running" 2>/dev/null; do sleep 0.003; done
        fi
        [ ! -e $place/images.duckdb.wal ] || writing=$((writing + 1))
        cp --reflink=always disks/disk.img disks/copy.img
        stop_fetch
        [ "$kind" != bindfs ] || unmount seen
        unmount disk
        check_copy
        bad=$((bad + wrong))
        echo "$kind: cut $cut: $rows rows said done, $here of them lied; $unclaimed files torn; afterwards $wrong of $count missing or wrong" >&2
        rm disks/copy.img
    done
    [ $((lies + bad)) = 0 ] || failed=1
    printf '%s: %s cuts, %s of them while recording: %s rows said done, %s lies; %s torn files that no row claimed; %s missing or wrong after the next fetch\n' \
        "$kind" "$cuts" "$writing" "$claimed" "$lies" "$torn" "$bad"
done
[ $failed = 0 ]
