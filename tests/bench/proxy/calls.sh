#!/bin/bash
# What a request costs examples/proxy, nginx and HAProxy: its system calls by kind, by strace, and its instructions outside
# the kernel, by callgrind. Upstream, load and settings are those of run.sh.
#
#   tests/bench/proxy/calls.sh [SECONDS [CLIENTS...]]           (default: 2 1 64 1000; two minutes)
#
# CLIENTS may be 8x16, say: 8 clients, each of which sends 16 requests at once (pipelined).
#
# The clients stand still when a tool begins to count, and again when it ends, so that what it counts belongs to requests
# that the upstream counted, too. Both tools slow the proxies down. With many clients a turn of their loops then has more
# requests than it would have, which share its epoll_wait.
#
# Needs nginx, haproxy, wrk, taskset, strace and valgrind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
seconds=${1:-2}
clients=("${@:2}")
[ ${#clients[@]} -gt 0 ] || clients=(1 64 1000)
names=(ours nginx haproxy)
source "$here/peers.sh"
declare -A instructions

served() { # how many requests the upstream has counted, this one included
    curl -s "http://127.0.0.1:${port[upstream]}/served" | awk 'NR == 3 { print $3 }'
}

end() { # name
    kill "-$2" "${pid[$1]}"
    wait "${pid[$1]}" 2> /dev/null || true
    unset "pid[$1]"
}

count_instructions() { # name, clients
    local before
    under=(valgrind --tool=callgrind --callgrind-out-file="$dir/$1.callgrind")
    start_proxies "$1"
    (load "$2" $((seconds + 5)) "$1") > /dev/null &
    pid[load]=$!
    sleep 2 # warm: the clients connect
    kill -STOP "${pid[load]}"
    sleep 1
    before=$(served)
    callgrind_control --zero "${pid[$1]}" > /dev/null 2>&1
    kill -CONT "${pid[load]}"
    sleep "$seconds"
    kill -STOP "${pid[load]}"
    sleep 1
    callgrind_control --dump "${pid[$1]}" > /dev/null 2>&1
    instructions[$1 $2]=$(($(awk '/^totals:/ { print $2 }' "$dir/$1.callgrind.1") / ($(served) - before - 1)))
    end load KILL
    end "$1" TERM
    rm "$dir/$1".callgrind*
}

trace() { # name, seconds
    strace -f -c -o "$dir/calls" -p "${pid[$1]}" 2> /dev/null &
    pid[strace]=$!
    sleep 0.5
    kill -CONT "${pid[load]}"
    sleep "$2"
    kill -STOP "${pid[load]}"
    sleep 1
    end strace INT
}

count_calls() { # name, clients
    local before
    (load "$2" $((seconds + 5)) "$1") > /dev/null &
    pid[load]=$!
    sleep 1
    kill -STOP "${pid[load]}"
    trace "$1" 1 # warm: slow, the proxy needs more upstream connections
    before=$(served)
    trace "$1" "$seconds"
    awk -v start="| $2 | $1" -v n=$(($(served) - before - 1)) -v instructions="${instructions[$1 $2]}" '
        $1 ~ /^[0-9]/ && $NF != "total" {
            kind = "other"
            if ($NF ~ /^(recv|read)/) { kind = "receive"; if (NF == 6) empty += $5 }
            else if ($NF ~ /^(send|write)/) kind = "send"
            else if ($NF == "epoll_wait") kind = "wait"
            else if ($4 / n >= 0.005) others = others (others ? ", " : ": ") $NF
            count[kind] += $4
            all += $4
        }
        END {
            printf "%s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f%s | %d |\n", start, all / n, count["receive"] / n, \
                empty / n, count["send"] / n, count["wait"] / n, count["other"] / n, others, instructions
        }' "$dir/calls"
    end load KILL
}

start_upstream
for name in "${names[@]}"; do
    for c in "${clients[@]}"; do
        count_instructions "$name" "$c"
    done
done
under=()
start_proxies "${names[@]}"
echo "| clients | proxy | system calls | receives | of these found nothing | sends | epoll_wait | others | instructions |"
echo "|---|---|---|---|---|---|---|---|---|"
for c in "${clients[@]}"; do
    for name in "${names[@]}"; do
        count_calls "$name" "$c"
    done
done
