"""Every path a kernel may take on this machine; one grid of tests is faced by all of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from kernels.native.library import forced, library

OWN_PRODUCTS = "own-products"


def paths() -> list[str]:
    """Pure PyTorch, each compiled form, and the plain one without the process's BLAS.

    The other forms never ask the BLAS.
    """
    loaded = library()
    if loaded is None:
        return ["pure-pytorch"]
    return ["pure-pytorch", *loaded.forms, OWN_PRODUCTS]


@contextmanager
def taking(path: str) -> Iterator[None]:
    """Take that path inside."""
    if path != OWN_PRODUCTS:
        with forced(path):
            yield
        return
    loaded = library()
    assert loaded is not None
    with forced("plain"):
        loaded.use_blas(on=False)
        try:
            yield
        finally:
            loaded.use_blas(on=True)
