"""The application of a house on a real port, for what speaks HTTP from outside."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.api.world import World


@contextmanager
def serving(world: World) -> Iterator[str]:
    """The application of the house, which runs already, on a free port of the loopback."""
    config = uvicorn.Config(
        world.client.app, port=0, lifespan="off", ws="none", log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
