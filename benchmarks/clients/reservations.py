"""Many clients that each ask for room again and again: `python -m benchmarks.clients.reservations`.

Plain sockets, so that the clients cost little of the machine that they share with the service.
Reads its orders as JSON on standard input; writes one JSON line with every latency and status.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any


@dataclass(slots=True)
class Seen:
    """latencies_ms: of every answer, in order of arrival. statuses: how often each came."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


async def client(orders: dict[str, Any], name: str, until_s: float, seen: Seen) -> None:
    """One connection that is kept alive; a new Idempotency-Key for each request."""
    reader, writer = await asyncio.open_connection(orders["host"], orders["port"])
    body = json.dumps(orders["body"]).encode()
    for number in count():
        if time.perf_counter() >= until_s:
            break
        head = (
            f"POST {orders['path']} HTTP/1.1\r\nHost: {orders['host']}\r\n"
            f"Authorization: Bearer {orders['key']}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {name}-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        asked_s = time.perf_counter()
        writer.write(head.encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        lines = answered.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        seen.latencies_ms.append((time.perf_counter() - asked_s) * 1000)
        status = int(lines[0].split()[1])
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
    writer.close()


async def run(orders: dict[str, Any]) -> dict[str, Any]:
    """All clients for as long as the orders say."""
    seen, began_s = Seen(), time.perf_counter()
    until_s = began_s + orders["seconds"]
    names = [f"{orders['round']}-{number}" for number in range(orders["clients"])]
    await asyncio.gather(*(client(orders, name, until_s, seen) for name in names))
    took_s = time.perf_counter() - began_s
    return {"took_s": took_s, "latencies_ms": seen.latencies_ms, "statuses": seen.statuses}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
