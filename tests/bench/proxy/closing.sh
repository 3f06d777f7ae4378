#!/bin/bash
# Which requests fail when the upstream closes inactive connections at random moments (after 1 to 50 ms, by FIN or by
# a reset)? examples/proxy beside nginx and HAProxy (as it comes, and with retry-on), the same load for each; the
# failed requests counted, and for ours the connections that were handed out dead.
#
#   tests/bench/proxy/closing.sh [REQUESTS [SPARSE_REQUESTS]]        (default: 1000000 1000000; of the sparse ones,
#                                                                     8 minutes for each proxy)
#
# Needs nginx, haproxy, and `cargo build --release` in tests/bench/closing with the same target directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
requests=${1:-1000000} sparse=${2:-1000000}
source "$here/peers.sh"
load_core=0,1 proxy_core=0,1 # no processor time is measured here
closing=${CLOSING:-$target/release/closing}
[ -x "$closing" ] || { echo "not built: $closing" >&2; exit 1; }

start upstream $load_core "$closing" upstream "127.0.0.1:${port[upstream]}"
start_proxies ours nginx haproxy haproxy-retry

figure() { # from our status page
    curl -s "http://127.0.0.1:${port[status]}/status.json" | grep -o "\"$1\":[0-9]*" | head -1 | cut -d: -f2
}

echo "| load | proxy | requests | failed | kinds |"
echo "|---|---|---|---|---|"
while read -r clients count pause; do
    for name in "${proxies[@]}"; do
        dead=$(figure handed_out_dead) retried=$(figure retried) found=$(figure found_dead) out=$(figure handed_out)
        read -r _ n _ failed kinds < <(taskset -c $load_core "$closing" load "127.0.0.1:${port[$name]}" "$clients" "$count" "$pause")
        if [ "$name" = ours ]; then
            kinds+=" (reused $(($(figure handed_out) - out)), found dead in time $(($(figure found_dead) - found)),"
            kinds+=" handed out dead $(($(figure handed_out_dead) - dead)), retried $(($(figure retried) - retried)))"
        fi
        echo "| $clients clients, pause up to $pause ms | $name | $n | $failed | $kinds |"
    done
done <<LOADS
8 $requests 0
64 $requests 0
64 $sparse 60
LOADS
