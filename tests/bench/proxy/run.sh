#!/bin/bash
# examples/proxy beside nginx, HAProxy and, if it is built, pingora-proxy: requests per second, and the proxy's own
# processor time per request. The upstream (nginx, a file of 612 bytes) and the load (wrk) share the first core, the
# proxy under test has the second. All in one run, one after the other in each round; medians over the rounds, also of
# each round's ratios.
#
#   tests/bench/proxy/run.sh [ROUNDS [SECONDS [CLIENTS...]]]        (default: 5 3 1 64 1000)
#
# CLIENTS may be 8x16, say: 8 clients, each of which sends 16 requests at once (pipelined). With PROXY_CORE=0 in the
# environment, all three share one core, so that none is ever idle. PROXIES names what is compared, for example
# PROXIES='ours ours-threads-2' PROXY_CORE=0,1.
#
# Needs nginx, haproxy, wrk and taskset, and two cores with nothing else to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
rounds=${1:-5} seconds=${2:-3}
clients=("${@:3}")
[ ${#clients[@]} -gt 0 ] || clients=(1 64 1000)
source "$here/peers.sh"
start_upstream
read -ra compared <<< "${PROXIES:-ours nginx haproxy pingora}"
start_proxies "${compared[@]}"

for round in $(seq "$rounds"); do
    for c in "${clients[@]}"; do
        for name in "${proxies[@]}"; do
            (load "$c" 1 "$name") > /dev/null # warm
            before=$(ticks "${pid[$name]}")
            (load "$c" "$seconds" "$name") > "$dir/wrk"
            after=$(ticks "${pid[$name]}")
            awk -v name="$name" -v c="$c" -v ticks=$((after - before)) -v hertz="$hertz" '
                / requests in / { requests = $1 }
                /^Requests\/sec/ { rate = $2 }
                /Socket errors|Non-2xx/ { bad = bad " " $0 }
                END { printf "%s %s %.0f %.3f%s\n", name, c, rate, ticks * 1e6 / hertz / requests, bad }
            ' "$dir/wrk" | tee -a "$dir/results" >&2
        done
    done
done

awk -v proxies="${proxies[*]}" -v clients="${clients[*]}" "$(< "$root/tests/bench/median.awk")"'
    {
        rate[$1, $2] = rate[$1, $2] " " $3; cpu[$1, $2] = cpu[$1, $2] " " $4
        if ($1 == "ours") ours = $4
        times[$1, $2] = times[$1, $2] " " $4 / ours # of this round
    }
    END {
        np = split(proxies, p, " "); nc = split(clients, c, " ")
        print "| clients | proxy | requests/s | CPU us/request | requests per CPU second | ours does, in the same round | least and most |"
        print "|---|---|---|---|---|---|---|"
        for (i = 1; i <= nc; i++)
            for (j = 1; j <= np; j++) {
                m = median(cpu[p[j], c[i]]); r = median(rate[p[j], c[i]]); t = median(times[p[j], c[i]])
                printf "| %s | %s | %.0f | %.2f | %.0f | %.2fx | %.2f-%.2f |\n", c[i], p[j], r, m, 1e6 / m, t, least, most
            }
    }' "$dir/results"
