#!/usr/bin/env bash
# outages.sh [TOLLER]: toller against an nginx that is restarted and stopped in mid run, and one that allows 32 requests a
# second without saying Retry-After. Prints a line of images, connections, requests and exit code for each.
#
# Not part of check.sh: it needs nginx. Takes some two minutes.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ground.sh
source "$(dirname "$(realpath "$0")")/ground.sh" "${1:-}" 2000
has nginx

port=$(free_port)
# begin [DIRECTIVES]: nginx in the background, by itself, so that whoever stops it need not be its parent.
begin() {
    cat >nginx.conf <<CONF
pid $work/run/nginx.pid; error_log $work/server.log; events {}
http { types { image/png png; } client_body_temp_path $work/run/b; proxy_temp_path $work/run/p; fastcgi_temp_path $work/run/f;
  uwsgi_temp_path $work/run/u; scgi_temp_path $work/run/s; log_format status '\$status'; access_log $work/run/access.log status;
  limit_req_zone \$binary_remote_addr zone=all:1m rate=32r/s;
  server { listen 127.0.0.1:$port ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/www; ${1:-} } }
CONF
    rm -f run/access.log
    nginx -c "$work/nginx.conf"
    wait_for "$port" nginx
}
end() {
    nginx -c "$work/nginx.conf" -s stop 2>>server.log
    for _ in {1..100}; do if [ -e run/nginx.pid ]; then sleep 0.05; else return 0; fi; done
    echo "nginx does not stop" >&2 && return 1
}
answers() { sort run/access.log | uniq -c | awk '{ print "    nginx said " $2 " " $1 " times" }'; }

# Once 400 images are there, nginx is away for so many seconds.
outage() {
    for _ in {1..300}; do
        if [ "$(find out -name '*.png' 2>/dev/null | wc -l)" -ge 400 ]; then end && sleep "$1" && begin && return; fi
        sleep 0.1
    done
    echo "never came to 400 images" >&2
}

for gap in 1 10; do
    begin
    rm -rf out
    outage "$gap" & outage=$!
    fetch "nginx away for $gap s" "https://localhost:$port/thumbs/{guid}.png" --rate 400
    wait "$outage" || true
    end
done
for status in 429 503; do
    begin "limit_req zone=all; limit_req_status $status;"
    fetch "32 a second, else $status" "https://localhost:$port/thumbs/{guid}.png" --limit 600
    answers
    end
    begin "limit_req zone=all burst=20 nodelay; limit_req_status $status;"
    fetch "32 a second and 20, else $status" "https://localhost:$port/thumbs/{guid}.png" --limit 600
    answers
    end
done
