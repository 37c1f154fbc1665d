"""Load the compiled kernels, or say why they are not used; the choice is made once a process."""

import ctypes
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from kernels.native import compile as native_compile

log = logging.getLogger(__name__)

# `off` takes the pure PyTorch path; the name of a form takes that form of the library.
FORCE = "EPSILON_KERNELS"

_Pointer = ctypes.c_void_p


class LinearBatch(ctypes.Structure):
    """`LinearBatch` of table.h."""

    _fields_ = (
        ("a", _Pointer),
        ("g", _Pointer),
        *((name, ctypes.c_long) for name in ("batch", "positions", "inputs", "outputs")),
        ("has_bias", ctypes.c_int),
    )


class ConvBatch(ctypes.Structure):
    """`ConvBatch` of table.h."""

    _fields_ = (
        ("x", _Pointer),
        ("g", _Pointer),
        *(
            (name, ctypes.c_long)
            for name in (
                *("batch", "channels", "height", "width", "filters", "out_height", "out_width"),
                *("kernel_height", "kernel_width", "stride_height", "stride_width"),
                *("pad_height", "pad_width", "dilation_height", "dilation_width"),
            )
        ),
        ("has_bias", ctypes.c_int),
    )


_INT, _LONG, _FLOAT, _DOUBLE = ctypes.c_int, ctypes.c_long, ctypes.c_float, ctypes.c_double
_LINEAR, _CONV = ctypes.POINTER(LinearBatch), ctypes.POINTER(ConvBatch)
_SIGNATURES: dict[str, list[type]] = {
    "clip_sum": [_LINEAR, _DOUBLE, *[_Pointer] * 5, _LONG, _INT],
    "direct_norm2": [_LINEAR, _Pointer, _Pointer, _INT],
    "ghost_norm2": [_LINEAR, _Pointer, _INT],
    "scaled_sum": [_LINEAR, *[_Pointer] * 4, _INT],
    "conv_clip_sum": [_CONV, _DOUBLE, *[_Pointer] * 6, _INT],
    "rows_squared_sum": [_Pointer, _LONG, _LONG, _Pointer, _INT],
    "layer_norm_gradients": [*[_Pointer] * 4, *[_LONG] * 3, _Pointer, _Pointer, _INT],
    "channel_sums": [_Pointer, _Pointer, _LONG, _LONG, _Pointer, _Pointer, _INT],
    "add_noise": [_Pointer, _LONG, _FLOAT, _Pointer, _Pointer, ctypes.c_uint32, _INT],
    "key_stream": [_Pointer, _LONG, _Pointer, _Pointer, ctypes.c_uint32],
    "add_discrete_noise": [_Pointer, _LONG, ctypes.c_uint64, _Pointer, _Pointer, _INT],
    "set_sgemm": [_Pointer],
    "use": [ctypes.c_char_p],
    "form_name": [_INT],
}


class Library:
    """The loaded library; calls take data pointers of dense tensors that the caller keeps alive."""

    def __init__(self, path: Path) -> None:
        """Load it and hand it the process's BLAS.

        torch is imported by now, so that its OpenMP serves this library too.

        Raises:
            OSError: the file does not load here.
        """
        self._library = ctypes.CDLL(str(path))
        for name, arguments in _SIGNATURES.items():
            getattr(self._library, f"epsilon_{name}").argtypes = arguments
        self._library.epsilon_form_name.restype = ctypes.c_char_p
        self._library.epsilon_form.restype = ctypes.c_char_p
        self._library.epsilon_squared_sum.restype = ctypes.c_double
        self._library.epsilon_squared_sum.argtypes = [_Pointer, _LONG]
        self.blas = _find_sgemm()
        self._library.epsilon_set_sgemm(self.blas)

    @property
    def form(self) -> str:
        """The instruction set in use."""
        return str(self._library.epsilon_form().decode())

    @property
    def forms(self) -> list[str]:
        """Every form that this processor can run, plainest first."""
        count = int(self._library.epsilon_forms())
        return [self._library.epsilon_form_name(i).decode() for i in range(count)]

    def use(self, form: str) -> None:
        """Force a form.

        Raises:
            ValueError: this processor or this build does not have it.
        """
        if self._library.epsilon_use(form.encode()) != 0:
            raise ValueError(f"no form {form!r} here; there are {', '.join(self.forms)}")

    def use_blas(self, *, on: bool) -> None:
        """Whether products go through the process's BLAS or the library's own loop."""
        self._library.epsilon_set_sgemm(self.blas if on else None)

    def squared_sum(self, values: Tensor) -> float:
        """The sum of squares of a dense float32 tensor, short by at most 10 * 2**-24 of it."""
        return float(self._library.epsilon_squared_sum(values.data_ptr(), values.numel()))

    def call(self, name: str, *arguments: object) -> None:
        """Call one operation; a form's `threads` is the last argument of most."""
        getattr(self._library, f"epsilon_{name}")(*arguments)


def _find_sgemm() -> int | None:
    """The address of the `sgemm_` that libtorch exports, if it does."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            found = ctypes.CDLL(str(folder / name)).sgemm_
        except (OSError, AttributeError):
            continue
        return ctypes.cast(found, ctypes.c_void_p).value
    return None


@cache
def _loaded() -> Library | None:
    forced = os.environ.get(FORCE, "")
    if forced == "off":
        log.info("kernels: pure PyTorch (%s=off)", FORCE)
        return None
    if not native_compile.LIBRARY.is_file() or not native_compile.is_current():
        log.warning("kernels: pure PyTorch; python -m kernels.native.compile makes the fast form")
        return None
    try:
        library = Library(native_compile.LIBRARY)
        if forced:
            library.use(forced)
    except (OSError, AttributeError, ValueError) as error:
        log.warning("kernels: pure PyTorch; the library is not usable: %s", error)
        return None
    log.info("kernels: %s", describe(library))
    return library


_switched_off = False


def library() -> Library | None:
    """The compiled form, or None: then the pure PyTorch path is taken."""
    return None if _switched_off else _loaded()


def describe(loaded: Library | None) -> str:
    """The path taken, for the log and for a run's record."""
    if loaded is None:
        return "pure-pytorch"
    return f"cpp-{loaded.form}{'' if loaded.blas else '-own-products'}"


def path_taken() -> str:
    """The path that the next call of a kernel takes."""
    return describe(library())


@contextmanager
def forced(path: str) -> Iterator[None]:
    """Take one path inside: `pure-pytorch`, or a form's name. For tests and measurements.

    Raises:
        ValueError: this machine does not have it.
    """
    global _switched_off  # noqa: PLW0603
    if path == "pure-pytorch":
        before, _switched_off = _switched_off, True
        try:
            yield
        finally:
            _switched_off = before
        return
    loaded = _loaded()
    if loaded is None:
        raise ValueError("the library is not loaded")
    previous = loaded.form
    loaded.use(path)
    try:
        yield
    finally:
        loaded.use(previous)
