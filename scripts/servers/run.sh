#!/usr/bin/env bash
# run.sh [TOLLER]: toller against real servers and proxies, those that are installed: nginx, Apache, Caddy, HAProxy, Varnish,
# Squid, tinyproxy, and moto's S3. Each serves 200 images on the loopback; prints a line of images, connections, requests and
# exit code for each.
#
# Not part of check.sh: it needs the servers. For moto_server: pip install 'moto[server,s3]', and its folder in PATH.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ground.sh
source "$(dirname "$(realpath "$0")")/ground.sh" "${1:-}" 200

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
        # It closes after each answer, whatever it is asked.
        fetch "tinyproxy, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "tinyproxy, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
    fi
    if has squid; then
        # Port 80 alone is no SSL_port by default: CONNECT is for what is encrypted.
        squid_conf() {
            printf 'http_port 127.0.0.1:%s\nacl SSL_ports port %s\nacl CONNECT method CONNECT\nhttp_access deny CONNECT !SSL_ports\n%s\nhttp_access deny all\ncache deny all\npid_filename %s/run/squid-%s.pid\naccess_log none\ncache_log %s/run/squid.log\ncoredump_dir %s/run\nshutdown_lifetime 1 seconds\n' \
                "$1" "$tls" "$2" "$work" "$1" "$work" "$work"
        }
        port=$(free_port)
        squid_conf "$port" 'http_access allow localhost' >squid.conf
        start squid -N -n open -f squid.conf
        wait_for "$port" squid
        fetch "Squid, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "Squid, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        # One that wants a password; whoever says "toller" twice has it.
        port=$(free_port)
        # shellcheck disable=SC2016 # The script's own variables.
        printf '#!/bin/sh\nwhile read -r name word; do if [ "$name $word" = "toller toller" ]; then echo OK; else echo ERR; fi; done\n' >run/password.sh
        chmod 755 run/password.sh
        squid_conf "$port" "auth_param basic program $work/run/password.sh
acl known proxy_auth REQUIRED
http_access allow known" >squid-password.conf
        start squid -N -n password -f squid-password.conf
        wait_for "$port" squid
        fetch "Squid, no password, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "Squid, no password, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://127.0.0.1:$port"
        fetch "Squid, wrong password" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://toller:wrong@127.0.0.1:$port"
        fetch "Squid, password, https" "https://localhost:$tls/thumbs/{guid}.png" --proxy "http://toller:toller@127.0.0.1:$port"
        fetch "Squid, password, http" "http://localhost:$plain/thumbs/{guid}.png" --proxy "http://toller:toller@127.0.0.1:$port"
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
if has caddy; then
    tls=$(free_port) plain=$(free_port)
    cat >Caddyfile <<CONF
{
    admin off
    auto_https off
    storage file_system $work/run/caddy
}
https://localhost:$tls {
    bind 127.0.0.1
    tls $work/cert.pem $work/key.pem
    root * $work/www
    encode gzip
    file_server
}
http://localhost:$plain {
    bind 127.0.0.1
    root * $work/www
    file_server
}
CONF
    start env HOME="$work/run" caddy run --config Caddyfile --adapter caddyfile
    wait_for "$tls" caddy
    fetch "Caddy, https" "https://localhost:$tls/thumbs/{guid}.png"
    fetch "Caddy, http" "http://localhost:$plain/thumbs/{guid}.png"
fi
if has moto_server && has curl; then
    port=$(free_port)
    start env AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x moto_server -H 127.0.0.1 -p "$port" -s -c cert.pem -k key.pem
    wait_for "$port" moto_server
    curl -sS --fail --cacert cert.pem -o /dev/null -X PUT -H 'x-amz-acl: public-read' "https://localhost:$port/thumbs"
    sed "s|.*|url = https://localhost:$port/thumbs/&.png\nupload-file = www/thumbs/&.png\noutput = /dev/null|" guids.txt >uploads.txt
    curl -sS --fail --cacert cert.pem -H 'x-amz-acl: public-read' -H 'Content-Type: image/png' -K uploads.txt
    fetch "S3 (moto), https" "https://localhost:$port/thumbs/{guid}.png"
    # A key that is not there is a 404 with XML, or a 403.
    sed -i '1s/.*/9999/' guids.txt
    fetch "S3 (moto), one is missing" "https://localhost:$port/thumbs/{guid}.png"
fi
