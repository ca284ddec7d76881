#!/usr/bin/env bash
# run.sh [TOLLER]: toller against real servers and proxies, those that are installed: nginx, Apache, HAProxy, Varnish, Squid,
# tinyproxy. Each serves 200 images on the loopback; prints a line of images, connections, requests and exit code for each.
#
# Not part of check.sh: it needs the servers. Everything lies in one temporary folder and ends with the script.
set -euo pipefail
toller=$(realpath "${1:-$(command -v toller)}")
work=$(mktemp -d /tmp/toller-servers.XXXXXX)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
# Servers that give up their rights must still read it.
chmod 755 . && mkdir -p www/thumbs run && chmod 777 run
python3 - <<'PY'
import struct, zlib
def chunk(name, body):
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
for n in range(200):
    rows = b''.join(b'\0' + bytes((n * 7 + x * y) % 256 for x in range(3 * 80)) for y in range(80))
    image = chunk(b'IHDR', struct.pack('>IIBBBBB', 80, 80, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows, 0))
    open(f'www/thumbs/{n:04}.png', 'wb').write(b'\x89PNG\r\n\x1a\n' + image + chunk(b'IEND', b''))
PY
seq -f %04.0f 0 199 >guids.txt
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem key.pem >both.pem && chmod 644 ./*.pem

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { for _ in {1..100}; do (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; echo "$2 does not listen" >&2; return 1; }
start() { "$@" >>"$work/server.log" 2>&1 & pids+=($!); }
fetch() {
    local name=$1 url=$2 code=0
    shift 2
    rm -rf out warehouse.duckdb*
    "$toller" load --warehouse warehouse.duckdb guids.txt >/dev/null
    timeout 60 "$toller" fetch --json --progress none --warehouse warehouse.duckdb --dest out --ca-cert cert.pem --url "$url" "$@" \
        >summary.json 2>fetch.log || code=$?
    python3 -c 'import json, sys
s = json.load(open("summary.json")) if open("summary.json").read(1) else {}
print("%-28s images %s  connections %s  requests %s  exit %s  %s" % (sys.argv[1], *[s.get(k, "-") for k in
    ("fetched", "connections", "requests")], sys.argv[2], s.get("failures") or ""))' "$name" "$code"
}
has() { command -v "$1" >/dev/null || { echo "$1: not installed"; return 1; }; }

if has nginx; then
    plain=$(free_port) tls=$(free_port)
    cat >nginx.conf <<CONF
daemon off; pid $work/run/nginx.pid; error_log $work/server.log; events {}
http { access_log off; types { image/png png; } client_body_temp_path $work/run/b; proxy_temp_path $work/run/p; fastcgi_temp_path $work/run/f;
  uwsgi_temp_path $work/run/u; scgi_temp_path $work/run/s;
  server { listen 127.0.0.1:$plain; listen 127.0.0.1:$tls ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/www;
    location /signed/ { return 302 "/thumbs/\$arg_id.png?a b|[]"; } } }
CONF
    start nginx -c "$work/nginx.conf"
    wait_for "$tls" nginx
    fetch "nginx, https" "https://localhost:$tls/thumbs/{guid}.png"
    fetch "nginx, http" "http://localhost:$plain/thumbs/{guid}.png"
    fetch "nginx, odd redirects" "https://localhost:$tls/signed/x.png?id={guid}"
    if has haproxy; then
        port=$(free_port)
        printf 'global\n  log stdout local0\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\nfrontend f\n  bind 127.0.0.1:%s ssl crt %s/both.pem\n  default_backend b\nbackend b\n  server s 127.0.0.1:%s\n' \
            "$port" "$work" "$plain" >haproxy.cfg
        start haproxy -db -f haproxy.cfg
        wait_for "$port" haproxy && fetch "HAProxy before nginx" "https://localhost:$port/thumbs/{guid}.png"
    fi
    if has varnishd; then
        port=$(free_port)
        start varnishd -F -a "127.0.0.1:$port" -b "127.0.0.1:$plain" -n "$work/run/varnish" -s malloc,32m
        wait_for "$port" varnishd && fetch "Varnish before nginx" "http://localhost:$port/thumbs/{guid}.png"
    fi
    if has tinyproxy; then
        port=$(free_port)
        printf 'Port %s\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nConnectPort %s\n' "$port" "$tls" >tinyproxy.conf
        start tinyproxy -d -c tinyproxy.conf
        wait_for "$port" tinyproxy
        fetch "tinyproxy, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "tinyproxy, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
    fi
    if has squid; then
        port=$(free_port)
        # Port 80 alone is no SSL_port by default: CONNECT is for what is encrypted.
        printf 'http_port 127.0.0.1:%s\nacl SSL_ports port %s\nacl CONNECT method CONNECT\nhttp_access deny CONNECT !SSL_ports\nhttp_access allow localhost\nhttp_access deny all\ncache deny all\npid_filename %s/run/squid.pid\naccess_log none\ncache_log %s/run/squid.log\ncoredump_dir %s/run\nshutdown_lifetime 1 seconds\n' \
            "$port" "$tls" "$work" "$work" "$work" >squid.conf
        start squid -N -f squid.conf
        wait_for "$port" squid
        fetch "Squid, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "Squid, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
    fi
fi
if has apache2; then
    port=$(free_port) modules=/usr/lib/apache2/modules
    cat >apache.conf <<CONF
ServerRoot $work
ServerName localhost
PidFile $work/run/apache.pid
Listen 127.0.0.1:$port
ErrorLog $work/server.log
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule mime_module $modules/mod_mime.so
LoadModule ssl_module $modules/mod_ssl.so
TypesConfig /etc/mime.types
DocumentRoot $work/www
<Directory $work/www>
Require all granted
</Directory>
SSLEngine on
SSLCertificateFile $work/cert.pem
SSLCertificateKeyFile $work/key.pem
CONF
    [ -f /etc/mime.types ] || sed -i '/TypesConfig/d; /mime_module/d' apache.conf
    start apache2 -X -f "$work/apache.conf"
    wait_for "$port" apache2 && fetch "Apache, https" "https://localhost:$port/thumbs/{guid}.png"
fi
