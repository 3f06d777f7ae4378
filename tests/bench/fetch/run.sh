#!/bin/bash
# examples/fetch beside wrk (one thread) and a bare mio loop that doesn't parse: the client's processor time a request,
# user and system. nginx (one worker, a file of 612 bytes) has the first core, the client under test the second. All in
# one run, one after the other in each round. wrk runs for so many seconds, and the others make as many requests as it
# did; medians over the rounds. Then the system calls of a request (strace), and the user instructions of one (callgrind).
#
#   tests/bench/fetch/run.sh [ROUNDS [SECONDS [CONNECTIONS...]]]        (default: 15 1 1 64)
#
# FETCH may name another build of it.
#
# Needs nginx, wrk, taskset, strace and valgrind, and two cores with nothing else to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
rounds=${1:-15} seconds=${2:-1}
connections=("${@:3}")
[ ${#connections[@]} -gt 0 ] || connections=(1 64)
clients=(fetch wrk bare)
server_core=0 client_core=1

cargo build -q --profile dist --locked --manifest-path "$root/Cargo.toml" -p fetch
cargo build -q --release --locked --manifest-path "$here/Cargo.toml"
fetch=${FETCH:-${CARGO_TARGET_DIR:-$root/target}/dist/fetch}
bare=${CARGO_TARGET_DIR:-$here/target}/release/bare

dir=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

head -c 612 /dev/zero | tr '\0' x > "$dir/file"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
address=127.0.0.1:$port url=http://127.0.0.1:$port/file
cat > "$dir/nginx.conf" <<CONF
daemon off; master_process off; user root; pid $dir/pid; error_log $dir/error.log;
events { worker_connections 8192; }
http {
    access_log off; open_file_cache max=10;
    client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
    keepalive_requests 1000000000; keepalive_timeout 75s;
    server { listen $address backlog=4096; root $dir; }
}
CONF
taskset -c $server_core nginx -c "$dir/nginx.conf" > "$dir/nginx.out" 2>&1 &
server=$!
length=0
for _ in $(seq 100); do
    length=$(curl -si "$url" | wc -c) || true
    [ "$length" -gt 612 ] && break
    sleep 0.1
done
[ "$length" -gt 612 ] || { echo "nginx doesn't answer" >&2; exit 1; }

# Sets `command` to what makes the client do so many requests; wrk does as many as it can in the time.
client() { # name, connections, requests, seconds
    case $1 in
    fetch) command=("$fetch" -q -n "$3" -c "$2" "$url") ;;
    wrk) command=(wrk -t1 -c"$2" -d"$4" "$url") ;;
    bare) command=("$bare" "$address" /file "$length" "$3" "$2") ;;
    esac
}

# Runs a command on the client's core; sets `used` to its processor time in ms.
timed() {
    local TIMEFORMAT='%3U %3S' times
    { time taskset -c $client_core "$@" > "$dir/out" 2> "$dir/err"; } 2> "$dir/time" || { cat "$dir/err" >&2; exit 1; }
    read -r -a times < "$dir/time"
    used=$((10#${times[0]/./} + 10#${times[1]/./}))
}

requests_of_wrk() {
    ! grep -E 'Socket errors|Non-2xx' "$dir/out" >&2 || exit 1
    awk '/ requests in / { print $1 }' "$dir/out"
}

for round in $(seq "$rounds"); do
    for c in "${connections[@]}"; do
        client wrk "$c" 0 "$seconds"
        [ "$round" -gt 1 ] || timed "${command[@]}" # warm
        [ "$round" -gt 1 ] || done_[c]=$(requests_of_wrk)
        for i in 0 1 2; do
            name=${clients[(i + round) % 3]} # another one first in each round
            client "$name" "$c" "${done_[c]}" "$seconds"
            timed "${command[@]}"
            requests=${done_[c]}
            [ "$name" != wrk ] || { requests=$(requests_of_wrk); done_[c]=$requests; }
            echo "$name $c $requests $used" | awk '{ printf "%s %s %.3f\n", $1, $2, $4 * 1e3 / $3 }' | tee -a "$dir/results" >&2
        done
    done
done

awk -v connections="${connections[*]}" "$(< "$root/tests/bench/median.awk")"'
    function ratio(peer, c,   i, n, list, ours, theirs) {
        n = split(cpu["fetch", c], ours, " "); split(cpu[peer, c], theirs, " ")
        for (i = 1; i <= n; i++) list = list " " theirs[i] / ours[i]
        i = median(list)
        return sprintf("%.2f (%.2f-%.2f)", i, least, most)
    }
    { cpu[$1, $2] = cpu[$1, $2] " " $3 }
    END {
        print "| connections | fetch, CPU us a request | wrk | bare loop | fetch does, times wrk'"'"'s requests a CPU second (least-most) | times the bare loop'"'"'s |"
        print "|---|---|---|---|---|---|"
        n = split(connections, cs, " ")
        for (i = 1; i <= n; i++) {
            c = cs[i]
            printf "| %d | %.2f | %.2f | %.2f | %s | %s |\n", c, median(cpu["fetch", c]), median(cpu["wrk", c]),
                median(cpu["bare", c]), ratio("wrk", c), ratio("bare", c)
        }
    }' "$dir/results"

echo
echo "| connections | client | system calls of a request |"
echo "|---|---|---|"
for c in "${connections[@]}"; do
    for name in "${clients[@]}"; do
        client "$name" "$c" 20000 2
        taskset -c $client_core strace -f -c -o "$dir/calls" "${command[@]}" > "$dir/out" 2>&1
        requests=20000
        [ "$name" != wrk ] || requests=$(requests_of_wrk)
        awk -v n="$requests" -v c="$c" -v name="$name" '
            $4 ~ /^[0-9]+$/ && $NF != "total" && $4 / n >= 0.01 { list = list sprintf("%s%.2f %s", list ? ", " : "", $4 / n, $NF) }
            END { printf "| %d | %s | %s |\n", c, name, list }' "$dir/calls"
    done
done

instructions() { # name, connections, requests
    client "$1" "$2" "$3" 0
    taskset -c $client_core valgrind --tool=callgrind --callgrind-out-file=/dev/null "${command[@]}" 2>&1 > /dev/null |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

echo
echo "| connections | client | user instructions of a request |"
echo "|---|---|---|"
for c in "${connections[@]}"; do
    for name in fetch bare; do
        few=$(instructions "$name" "$c" 1000) many=$(instructions "$name" "$c" 5000)
        echo "| $c | $name | $(((many - few) / 4000)) |"
    done
done
