#!/usr/bin/env bash
# ground.sh TOLLER IMAGES, to be sourced: what run.sh and outages.sh stand on. A temporary folder with images and a
# certificate, ports, servers that end with the script, and a fetch that prints a line.
#
# Everything lies in one temporary folder and ends with the script.
toller=$(realpath "${1:-$(command -v toller)}") images=$2
work=$(mktemp -d /tmp/toller-servers.XXXXXX)
pids=()
finish() {
    # What went into the background by itself has left a file.
    if [ -s run/nginx.pid ]; then kill "$(<run/nginx.pid)" 2>/dev/null || true; fi
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
cd "$work" || exit
# Servers that give up their rights must still read it.
chmod 755 . && mkdir -p www/thumbs run && chmod 777 run
IMAGES=$images python3 - <<'PY'
import os, struct, zlib
def chunk(name, body):
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
for n in range(int(os.environ['IMAGES'])):
    # The number stands in the first pixels: no two images are the same.
    rows = b'\0' + struct.pack('>I', n) + bytes(236)
    rows += b''.join(b'\0' + bytes((n * 7 + x * y) % 256 for x in range(240)) for y in range(1, 4)) + bytes(241 * 76)
    image = chunk(b'IHDR', struct.pack('>IIBBBBB', 80, 80, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows, 0))
    open(f'www/thumbs/{n:04}.png', 'wb').write(b'\x89PNG\r\n\x1a\n' + image + chunk(b'IEND', b''))
PY
seq -f %04.0f 0 $((images - 1)) >guids.txt
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem key.pem >both.pem && chmod 644 ./*.pem

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { for _ in {1..100}; do (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; echo "$2 does not listen" >&2; return 1; }
start() { "$@" >>"$work/server.log" 2>&1 & pids+=($!); }
has() { command -v "$1" >/dev/null || { echo "$1: not installed"; return 1; }; }

# A line of images, connections, requests and exit code. Connections that were tried in vain are counted where strace is.
fetch() {
    local name=$1 url=$2 code=0 tried=() began=$EPOCHREALTIME
    shift 2
    rm -rf out warehouse.duckdb* summary.json connects.txt
    "$toller" load --warehouse warehouse.duckdb guids.txt >/dev/null
    if command -v strace >/dev/null; then tried=(strace -f -qq --seccomp-bpf -e "trace=connect" -o connects.txt); fi
    timeout 120 "${tried[@]}" "$toller" fetch --json --progress none --warehouse warehouse.duckdb --dest out --ca-cert cert.pem \
        --url "$url" "$@" >summary.json 2>fetch.log || code=$?
    python3 - "$name" "$code" "$began" "$EPOCHREALTIME" <<'PY'
import json, os, re, sys
name, code, began, ended = sys.argv[1:]
text = open("summary.json").read()
s = json.loads(text) if text else {}
tried = "-"
if os.path.exists("connects.txt"):
    tried = len(re.findall(r"connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\([1-9]", open("connects.txt").read()))
print("%-28s images %4s  connections %3s of %3s tried  requests %4s  exit %s  %5.1f s  %s" % (name, s.get("fetched", "-"),
    s.get("connections", "-"), tried, s.get("requests", "-"), code, float(ended) - float(began), s.get("failures") or ""))
PY
    if [ "$code" != 0 ]; then sed -n '/^toller: /p' fetch.log | tail -n 2; fi
}
