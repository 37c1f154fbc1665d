"""Clients that take room and settle it at a steady rate: `python -m benchmarks.clients.steady`.

Each life is a reservation and its commit. The times of requests are fixed beforehand and latency
counts from them, so that a service which stalls is charged for everybody whom it kept waiting. A
rate of 0 asks as fast as the answers come. Reads its orders as JSON on standard input; writes one
line of JSON a period, and a last one with the count of lives.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from statistics import quantiles
from typing import Any


@dataclass(slots=True)
class Period:
    """What came back in one period; latencies in milliseconds."""

    reserve_ms: list[float] = field(default_factory=list)
    commit_ms: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def line(self, number: int) -> dict[str, Any]:
        """Its figures."""
        return {
            "period": number,
            "lives": len(self.commit_ms),
            "reserve_ms": _percentiles(self.reserve_ms),
            "commit_ms": _percentiles(self.commit_ms),
            "refused": self.refused,
        }


@dataclass
class Load:
    """One run of all clients; `began_s` is its zero, and slots are given out in order."""

    orders: dict[str, Any]
    began_s: float = field(default_factory=time.perf_counter)
    periods: dict[int, Period] = field(default_factory=dict)
    slots: "count[int]" = field(default_factory=count)
    lives: int = 0

    def now(self) -> float:
        return time.perf_counter() - self.began_s

    def period(self) -> Period:
        """The one that it is now."""
        number = int(self.now() / self.orders["period_s"])
        return self.periods.setdefault(number, Period())

    async def client(self, port: int) -> None:
        """One connection that is kept alive, until the time is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        rate = self.orders["rate"]
        while self.now() < self.orders["seconds"]:
            slot = next(self.slots)
            due_s = slot / rate if rate else self.now()
            if due_s >= self.orders["seconds"]:
                break
            await asyncio.sleep(max(0.0, due_s - self.now()))
            key = f"{self.orders['round']}-{slot}"
            status, made = await self.ask(
                reader, writer, "/v1/reservations", self.orders["body"], key
            )
            self.seen("reserve", status, 201, due_s)
            if status != 201:
                continue
            asked_s = self.now()
            path = f"/v1/reservations/{made['id']}/commit"
            status, _ = await self.ask(reader, writer, path, {"fence": made["fence"]}, "")
            self.seen("commit", status, 200, asked_s)
            self.lives += status == 200
        writer.close()

    async def ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        body: dict[str, Any],
        key: str,
    ) -> tuple[int, dict[str, Any]]:
        """One request; its status and what came with it."""
        text = json.dumps(body).encode()
        keyed = f"Idempotency-Key: {key}\r\n" if key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{keyed}"
            f"Authorization: Bearer {self.orders['key']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        writer.write(head.encode() + text)
        answered = await reader.readuntil(b"\r\n\r\n")
        lines = answered.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        return int(lines[0].split()[1]), json.loads(await reader.readexactly(length))

    def seen(self, what: str, status: int, wanted: int, since_s: float) -> None:
        """Note one answer."""
        period = self.period()
        if status == wanted:
            found = period.reserve_ms if what == "reserve" else period.commit_ms
            found.append((self.now() - since_s) * 1000)
        else:
            name = f"{what} {status}"
            period.refused[name] = period.refused.get(name, 0) + 1

    async def tell(self) -> None:
        """Write each period once it is over."""
        for number in count():
            await asyncio.sleep(max(0.0, (number + 1) * self.orders["period_s"] - self.now()))
            print(json.dumps(self.periods.pop(number, Period()).line(number)), flush=True)


async def run(orders: dict[str, Any]) -> None:
    """All clients for as long as the orders say."""
    load = Load(orders)
    telling = asyncio.ensure_future(load.tell())
    ports = orders["ports"]
    async with asyncio.TaskGroup() as group:
        for number in range(orders["clients"]):
            group.create_task(load.client(ports[number % len(ports)]))
    took_s = load.now()
    telling.cancel()
    for number in sorted(load.periods):
        print(json.dumps(load.periods[number].line(number)))
    print(json.dumps({"all": load.lives, "took_s": took_s}))


def _percentiles(latencies: list[float]) -> dict[str, float]:
    if len(latencies) < 2:
        return {}
    cuts = quantiles(latencies, n=1000)
    return {"p50": cuts[499], "p99": cuts[989], "p999": cuts[998]}


if __name__ == "__main__":
    asyncio.run(run(json.load(sys.stdin)))
