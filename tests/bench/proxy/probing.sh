#!/bin/bash
# What does the probe at hand-out cost, and what does it prevent? examples/proxy with --probe-after 0, 1 and 10 (ms).
#
#   tests/bench/proxy/probing.sh cost [ROUNDS [SECONDS]]               (default: 7 2; 3 minutes)
#   tests/bench/proxy/probing.sh risk [REQUESTS [SPARSE_REQUESTS]]     (default: 1000000 300000; 6 minutes)
#
# cost: processor time a request, the three in turns, the upstream and the load as in run.sh; medians of each round's
# ratio to --probe-after 0.
# risk: the upstream closes inactive connections after 1 to 50 ms, by FIN or by a reset. Which requests met a connection
# that had been closed? Those found dead by the probe were given another one. Those handed out dead were repeated by the
# proxy; a POST in their place would have failed. The sparse loads run at the same time, the others in turns.
#
# Needs taskset. cost: nginx, wrk and two cores with nothing else to do. risk:
# `cargo build --release` in tests/bench/closing with the same target directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
what=${1:-}
case $what in
cost) rounds=${2:-7} seconds=${3:-2} ;;
risk) requests=${2:-1000000} sparse=${3:-300000} ;;
*) sed -n '2,/^set/{/^set/d;s/^# \?//p}' "$0" >&2; exit 2 ;;
esac
source "$here/peers.sh"
times=(0 1 10)

figures() { # of the proxy with this time, each by name
    local json name
    json=$(curl -s "http://127.0.0.1:${port[status-ours-probe-after-$1]}/status.json")
    for name in "${@:2}"; do
        grep -o "\"$name\":[0-9]*" <<< "$json" | head -1 | cut -d: -f2
    done | paste -sd' '
}

start_all() {
    local time
    for time in "${times[@]}"; do
        start_proxies "ours-probe-after-$time"
    done
}

cost() { # prints CLIENTS TIME US_PER_REQUEST PROBES_PER_REQUEST for each run
    local round c time name spent requests probes requests_after probes_after
    for round in $(seq "$rounds"); do
        for c in 1 64; do
            for time in "${times[@]}"; do
                name=ours-probe-after-$time
                taskset -c $load_core wrk -t1 -c$c -d1 "http://127.0.0.1:${port[$name]}/file" > /dev/null # warm
                read -r requests probes < <(figures "$time" requests probes)
                spent=$(ticks "${pid[$name]}")
                taskset -c $load_core wrk -t1 -c$c -d"$seconds" "http://127.0.0.1:${port[$name]}/file" > "$dir/wrk"
                spent=$(($(ticks "${pid[$name]}") - spent))
                grep -E 'Socket errors|Non-2xx' "$dir/wrk" >&2 || true
                read -r requests_after probes_after < <(figures "$time" requests probes)
                awk -v c=$c -v time="$time" -v us="$((spent * 1000000 / hertz))" -v n=$((requests_after - requests)) \
                    -v probes=$((probes_after - probes)) 'BEGIN { print c, time, us / n, probes / n }'
            done
        done
    done
}

cost_table() {
    awk "$(< "$root/tests/bench/median.awk")"'
        !(($1, $2) in us) { order[++kinds] = $1 SUBSEP $2 }
        $2 == 0 { base = $3 }
        { us[$1, $2] = us[$1, $2] " " $3; ratio[$1, $2] = ratio[$1, $2] " " base / $3; probes[$1, $2] = probes[$1, $2] " " $4 }
        END {
            print "| clients | probe after | CPU us/request | probes/request | requests per CPU second, times those of 0 ms | least and most |"
            print "|---|---|---|---|---|---|"
            for (i = 1; i <= kinds; i++) {
                split(order[i], key, SUBSEP)
                cost = median(us[order[i]]); probed = median(probes[order[i]]); times = median(ratio[order[i]])
                printf "| %d | %s ms | %.2f | %.3f | %.3f | %.2f-%.2f |\n", key[1], key[2], cost, probed, times, least, most
            }
        }'
}

risk() { # time, clients, requests, pause
    local before after n failed kinds
    local names=(handed_out probes found_dead handed_out_dead retried)
    read -ra before < <(figures "$1" "${names[@]}")
    read -r _ n _ failed kinds < <(taskset -c $load_core "$closing" load "127.0.0.1:${port[ours-probe-after-$1]}" "${@:2}")
    read -ra after < <(figures "$1" "${names[@]}")
    for i in "${!names[@]}"; do
        after[i]=$((after[i] - before[i]))
    done
    awk -v load="$2 clients, pause up to $4 ms" -v time="$1" -v n="$n" -v failed="$failed $kinds" -v figures="${after[*]}" '
        BEGIN {
            split(figures, f, " ")
            printf "| %s | %s ms | %d | %.3f | %.1f | %.1f | %.1f | %s |\n", load, time, n, f[2] / f[1], f[3] * 1e6 / n, f[4] * 1e6 / n, f[5] * 1e6 / n, failed
        }'
}

case $what in
cost)
    start_upstream
    start_all
    cost > "$dir/results"
    cost_table < "$dir/results"
    ;;
risk)
    closing=${CLOSING:-$target/release/closing}
    [ -x "$closing" ] || { echo "not built: $closing" >&2; exit 1; }
    load_core=0,1 proxy_core=0,1 # no processor time is measured here
    start upstream $load_core "$closing" upstream "127.0.0.1:${port[upstream]}"
    start_all
    echo "| load | probe after | requests | probes/reuse | found dead in time, per million | handed out dead, per million | repeated, per million | failed |"
    echo "|---|---|---|---|---|---|---|---|"
    for clients in 8 64; do
        for time in "${times[@]}"; do
            risk "$time" $clients "$requests" 0
        done
    done
    for time in "${times[@]}"; do
        risk "$time" 64 "$sparse" 60 > "$dir/sparse-$time" &
        pid[sparse-$time]=$!
    done
    for time in "${times[@]}"; do
        wait "${pid[sparse-$time]}"
        cat "$dir/sparse-$time"
    done
    ;;
esac
