"""POSTs that come just as a server gives up inactive connections: PORT CLIENTS ROUNDS IDLE_SECONDS.

Prints how many were sent, how many failed, and how. In each round every client sends one, on its own connection. When
all are answered they wait together for the server's idle time, give or take up to 20 ms.
"""
import asyncio
import collections
import random
import sys

port, clients, rounds = map(int, sys.argv[1:4])
idle = float(sys.argv[4])
results = collections.Counter()


async def post(connection):
    reader, writer = connection
    writer.write(b"POST /file HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ")[1].decode()
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"content-length" in lines:
        await reader.readexactly(int(lines[b"content-length"]))
    closes = b"content-length" not in lines or lines.get(b"connection") == b"close"
    return status, closes


async def client(waits, together):
    connection = None
    for wait in waits:
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", port)
            result, closes = await asyncio.wait_for(post(connection), 30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            result, closes = type(error).__name__, True
        results[result] += 1
        if closes and connection:
            connection[1].close()
            connection = None
        await together.wait()
        await asyncio.sleep(wait)


async def main():
    together = asyncio.Barrier(clients)
    waits = [idle + random.uniform(-0.02, 0.02) for _ in range(rounds)]
    await asyncio.gather(*(client(waits, together) for _ in range(clients)))


asyncio.run(main())
total = results.total()
kinds = [f"{kind}={count}" for kind, count in sorted(results.items()) if kind != "200"]
print(total, total - results["200"], *kinds)
