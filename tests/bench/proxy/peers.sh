# Sourced: starts examples/proxy and its peers in front of one upstream, each on a port of its own, and ends them.
#
# Sets `dir` (temporary), `pid` and `port` (by name), `proxies` (the names), `hertz`; expects `root`. Each proxy runs under
# the command `under`, if there is one.

target=${CARGO_TARGET_DIR:-$root/target}
ours=$target/dist/proxy
pingora=${PINGORA:-$target/release/pingora-peer}
load_core=0 proxy_core=${PROXY_CORE:-1}
hertz=$(getconf CLK_TCK)

cargo build -q --profile dist --locked --manifest-path "$root/Cargo.toml" -p proxy
dir=$(mktemp -d)
declare -A pid port
proxies=() under=()
cleanup() {
    kill -KILL "${pid[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() { # name, core, command
    local under=("${under[@]}")
    [ "$1" != upstream ] || under=()
    taskset -c "$2" "${under[@]}" "${@:3}" > "$dir/$1.out" 2>&1 &
    pid[$1]=$!
}

load() { # clients, or clients x requests that each sends at once; seconds; proxy: what wrk says
    local script=()
    [ "$1" = "${1%x*}" ] || script=(-s "$dir/pipelined.lua")
    exec taskset -c $load_core wrk -t1 -c"${1%x*}" -d"$2" "${script[@]}" "http://127.0.0.1:${port[$3]}/file" "${1#*x}"
}

ticks() { # of a process: user and system time, in units of 1/hertz s
    local stat
    stat=$(< "/proc/$1/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
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

haproxy_conf() { # name, lines for the backend
    cat > "$dir/$1.cfg" <<CONF
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
    bind 127.0.0.1:${port[$1]} backlog 4096
    default_backend up
backend up
    server one 127.0.0.1:${port[upstream]} pool-max-conn 1024
$2
CONF
}

# Requests that are sent at once, as many as the argument says.
cat > "$dir/pipelined.lua" <<'LUA'
init = function(args)
    all = string.rep(wrk.format(), tonumber(args[1]))
end
request = function()
    return all
end
LUA

# The upstream: nginx and a file of 612 bytes.
start_upstream() {
    head -c 612 /dev/zero | tr '\0' x > "$dir/file"
    nginx_conf upstream "
    open_file_cache max=10;
    server {
        listen 127.0.0.1:${port[upstream]} backlog=4096; root $dir;
        location = /served { stub_status; }
    }"
    start upstream $load_core nginx -c "$dir/upstream/nginx.conf"
}

# The proxies named, each once it answers.
start_proxies() {
    local name size
    for name in "$@"; do
        port[$name]=$(free_port)
        case $name in
        ours)
            start ours $proxy_core "$ours" --listen "127.0.0.1:${port[ours]}" \
                --upstream "127.0.0.1:${port[upstream]}" --status "127.0.0.1:${port[status]}" ;;
        ours-reuse)
            start ours-reuse $proxy_core "$ours" --listen "127.0.0.1:${port[ours-reuse]}" \
                --upstream "127.0.0.1:${port[upstream]}" --unsafe-requests reuse ;;
        ours-threads-*)
            start "$name" $proxy_core "$ours" --listen "127.0.0.1:${port[$name]}" \
                --upstream "127.0.0.1:${port[upstream]}" --threads "${name##*-}" ;;
        ours-probe-after-*)
            port[status-$name]=$(free_port)
            start "$name" $proxy_core "$ours" --listen "127.0.0.1:${port[$name]}" \
                --upstream "127.0.0.1:${port[upstream]}" --status "127.0.0.1:${port[status-$name]}" \
                --probe-after "${name##*-}" ;;
        nginx)
            nginx_conf nginx "
    upstream up { server 127.0.0.1:${port[upstream]}; keepalive 1024; keepalive_requests 100000000; }
    server {
        listen 127.0.0.1:${port[nginx]} backlog=4096;
        location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }
    }"
            start nginx $proxy_core nginx -c "$dir/nginx/nginx.conf" ;;
        haproxy)
            haproxy_conf haproxy ""
            start haproxy $proxy_core haproxy -db -f "$dir/haproxy.cfg" ;;
        haproxy-safe)
            haproxy_conf haproxy-safe "    http-reuse safe"
            start haproxy-safe $proxy_core haproxy -db -f "$dir/haproxy-safe.cfg" ;;
        haproxy-retry)
            haproxy_conf haproxy-retry "    retry-on conn-failure empty-response"
            start haproxy-retry $proxy_core haproxy -db -f "$dir/haproxy-retry.cfg" ;;
        pingora)
            [ -x "$pingora" ] || { echo "without pingora: $pingora is not built" >&2; continue; }
            start pingora $proxy_core "$pingora" "127.0.0.1:${port[pingora]}" "127.0.0.1:${port[upstream]}" ;;
        esac
        for _ in $(seq 100); do
            size=$(curl -s "http://127.0.0.1:${port[$name]}/file" | wc -c) || true
            [ "$size" = 612 ] && break
            sleep 0.1
        done
        [ "$size" = 612 ] || { echo "$name doesn't answer" >&2; exit 1; }
        proxies+=("$name")
    done
}

port[upstream]=$(free_port)
port[status]=$(free_port)
