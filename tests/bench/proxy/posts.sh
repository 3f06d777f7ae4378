#!/bin/bash
# Which POSTs fail when they come just as gunicorn and uvicorn close inactive connections? examples/proxy (as it comes,
# and with --unsafe-requests reuse) beside nginx and HAProxy, all under the same load at the same time.
#
#   tests/bench/proxy/posts.sh [ROUNDS [CLIENTS]]        (default: 100 100; 12 minutes)
#
# Needs nginx, haproxy, gunicorn and uvicorn (from PyPI) on the path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
rounds=${1:-100} clients=${2:-100}
source "$here/peers.sh"
load_core=0,1 proxy_core=0,1 # no processor time is measured here

cat > "$dir/app.py" <<'APP'
BODY = b"x" * 612

def wsgi(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]

async def asgi(scope, receive, send):
    while scope["type"] == "http" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"612")]})
    await send({"type": "http.response.body", "body": BODY})
APP

echo "| server, inactive for | proxy | requests | failed | kinds |"
echo "|---|---|---|---|---|"
for server in gunicorn uvicorn; do
    case $server in
    gunicorn) idle=2; start upstream $load_core gunicorn --chdir "$dir" --bind "127.0.0.1:${port[upstream]}" --threads 200 \
        --worker-class gthread --keep-alive $idle app:wsgi ;;
    uvicorn) idle=5; start upstream $load_core uvicorn --app-dir "$dir" --port "${port[upstream]}" --timeout-keep-alive $idle \
        --lifespan off --log-level warning app:asgi ;;
    esac
    proxies=()
    start_proxies ours ours-reuse nginx haproxy haproxy-safe
    for name in "${proxies[@]}"; do
        python3 "$here/posts.py" "${port[$name]}" "$clients" "$rounds" "$idle" > "$dir/$name.result" &
        pid[load-$name]=$!
    done
    for name in "${proxies[@]}"; do
        wait "${pid[load-$name]}"
        read -r n failed kinds < "$dir/$name.result"
        echo "| $server, $idle s | $name | $n | $failed | $kinds |"
        kill -TERM "${pid[$name]}"
    done
    kill -TERM "${pid[upstream]}" # gunicorn ends its workers
    wait "${pid[upstream]}" 2>/dev/null || true
done
