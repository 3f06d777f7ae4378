#!/bin/bash
# The proxy example beside nginx, HAProxy and, if it is built, pingora-proxy: requests per second, and the proxy's own
# processor time per request. The upstream (nginx, a file of 612 bytes) and the load (wrk) share the first core, the
# proxy under test has the second. All in one run, one after the other in each round; medians over the rounds.
#
#   tests/bench/proxy/run.sh [ROUNDS [SECONDS [CLIENTS...]]]        (default: 5 3 1 64 1000)
#
# Needs nginx, haproxy, wrk and taskset, and two cores with nothing else to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
rounds=${1:-5} seconds=${2:-3}
clients=("${@:3}")
[ ${#clients[@]} -gt 0 ] || clients=(1 64 1000)
target=${CARGO_TARGET_DIR:-$root/target}
ours=$target/release/examples/proxy
pingora=${PINGORA:-$target/release/pingora-peer}
load_core=0 proxy_core=1
hertz=$(getconf CLK_TCK)

[ -x "$ours" ] || { echo "not built: cargo build --release --example proxy" >&2; exit 1; }
dir=$(mktemp -d)
declare -A pid port
cleanup() {
    for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap cleanup EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

nginx_conf() { # name, the http block's lines
    mkdir -p "$dir/$1"
    cat > "$dir/$1/nginx.conf" <<CONF
daemon off; master_process off; user root; pid $dir/$1/pid; error_log $dir/$1/error.log;
worker_processes 1; worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $dir/$1; proxy_temp_path $dir/$1; fastcgi_temp_path $dir/$1;
    uwsgi_temp_path $dir/$1; scgi_temp_path $dir/$1;
    keepalive_requests 100000000; keepalive_timeout 75s;
$2
}
CONF
}

for name in upstream ours nginx haproxy pingora; do port[$name]=$(free_port); done
head -c 612 /dev/zero | tr '\0' x > "$dir/file"

nginx_conf upstream "
    open_file_cache max=10;
    server { listen 127.0.0.1:${port[upstream]} backlog=4096; root $dir; }"
nginx_conf nginx "
    upstream up { server 127.0.0.1:${port[upstream]}; keepalive 1024; keepalive_requests 100000000; }
    server {
        listen 127.0.0.1:${port[nginx]} backlog=4096;
        location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }
    }"
cat > "$dir/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 30s
    http-reuse always
frontend in
    bind 127.0.0.1:${port[haproxy]} backlog 4096
    default_backend up
backend up
    server one 127.0.0.1:${port[upstream]} pool-max-conn 1024
CONF

start() { # name, core, command
    taskset -c "$2" "${@:3}" > "$dir/$1.out" 2>&1 &
    pid[$1]=$!
}
start upstream $load_core nginx -c "$dir/upstream/nginx.conf"
start ours $proxy_core "$ours" --listen "127.0.0.1:${port[ours]}" --upstream "127.0.0.1:${port[upstream]}"
start nginx $proxy_core nginx -c "$dir/nginx/nginx.conf"
start haproxy $proxy_core haproxy -db -f "$dir/haproxy.cfg"
proxies=(ours nginx haproxy)
if [ -x "$pingora" ]; then
    start pingora $proxy_core "$pingora" "127.0.0.1:${port[pingora]}" "127.0.0.1:${port[upstream]}"
    proxies+=(pingora)
fi

ticks() { # of a process: user and system time
    local stat
    stat=$(< "/proc/$1/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

for name in "${proxies[@]}"; do
    for _ in $(seq 100); do
        curl -s -o /dev/null "http://127.0.0.1:${port[$name]}/file" && break
        sleep 0.1
    done
    size=$(curl -sf "http://127.0.0.1:${port[$name]}/file" | wc -c)
    [ "$size" = 612 ] || { echo "$name doesn't answer" >&2; exit 1; }
done

for round in $(seq "$rounds"); do
    for c in "${clients[@]}"; do
        for name in "${proxies[@]}"; do
            url=http://127.0.0.1:${port[$name]}/file
            taskset -c $load_core wrk -t1 -c"$c" -d1 "$url" > /dev/null # warm
            before=$(ticks "${pid[$name]}")
            taskset -c $load_core wrk -t1 -c"$c" -d"$seconds" "$url" > "$dir/wrk"
            after=$(ticks "${pid[$name]}")
            awk -v name="$name" -v c="$c" -v ticks=$((after - before)) -v hertz="$hertz" '
                / requests in / { requests = $1 }
                /^Requests\/sec/ { rate = $2 }
                /Socket errors|Non-2xx/ { bad = bad " " $0 }
                END { printf "%s %d %.0f %.3f%s\n", name, c, rate, ticks * 1e6 / hertz / requests, bad }
            ' "$dir/wrk" | tee -a "$dir/results" >&2
        done
    done
done

awk -v proxies="${proxies[*]}" -v clients="${clients[*]}" '
    function median(list,   parts, n, i, j, t) {
        n = split(list, parts, " ")
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && parts[j - 1] + 0 > parts[j] + 0; j--) { t = parts[j]; parts[j] = parts[j - 1]; parts[j - 1] = t }
        return n % 2 ? parts[(n + 1) / 2] : (parts[n / 2] + parts[n / 2 + 1]) / 2
    }
    { rate[$1, $2] = rate[$1, $2] " " $3; cpu[$1, $2] = cpu[$1, $2] " " $4 }
    END {
        np = split(proxies, p, " "); nc = split(clients, c, " ")
        printf "| clients | proxy | requests/s | CPU us/request | requests per CPU second | ours is |\n|---|---|---|---|---|---|\n"
        for (i = 1; i <= nc; i++)
            for (j = 1; j <= np; j++) {
                m = median(cpu[p[j], c[i]])
                if (j == 1) ours = m
                printf "| %d | %s | %.0f | %.2f | %.0f | %.2fx |\n", c[i], p[j], median(rate[p[j], c[i]]), m, 1e6 / m, m / ours
            }
    }' "$dir/results"
