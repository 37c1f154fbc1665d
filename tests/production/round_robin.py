"""A balancer in front of several API processes: it takes connections in turn, and reads nothing."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class RoundRobin:
    """Hands each connection to the next API process that takes it."""

    def __init__(self) -> None:
        self.port = 0
        self._ports: list[int] = []
        self._turn = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, port: int) -> None:
        """From now on connections go there too."""
        self._ports = [*self._ports, port]

    def remove(self, port: int) -> None:
        """From now on no new connection goes there; those that stand are its own to end."""
        self._ports = [each for each in self._ports if each != port]

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        """Take connections until it is over."""
        server = await asyncio.start_server(self._taken, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = self._ports
        for _ in ports:
            self._turn += 1
            with suppress(OSError):
                there, back = await asyncio.open_connection(
                    "127.0.0.1", ports[self._turn % len(ports)]
                )
                # either side that ends, ends both: half a connection would be waited for
                pipes = {
                    asyncio.ensure_future(_pipe(reader, back)),
                    asyncio.ensure_future(_pipe(there, writer)),
                }
                _, left = await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                for each in left:
                    each.cancel()
                await asyncio.gather(*left, return_exceptions=True)
                back.close()
                break
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextmanager
def round_robin() -> Iterator[RoundRobin]:
    """A balancer on a port of the loopback, on a thread of its own."""
    balancer, ready = RoundRobin(), threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(balancer.serve(ready, over))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="round-robin", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
