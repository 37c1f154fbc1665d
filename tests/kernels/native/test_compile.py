"""The compiled library: made only from these sources, and never missed where it cannot be made."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from kernels.layers.fused_cpu import best
from kernels.native import compile as native
from kernels.native.library import forced, library, path_taken


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, so that a test may change them."""
    sources, output = tmp_path / "csrc", tmp_path / "build"
    shutil.copytree(native.SOURCES, sources)
    monkeypatch.setattr(native, "SOURCES", sources)
    monkeypatch.setattr(native, "OUTPUT", output)
    monkeypatch.setattr(native, "LIBRARY", output / "epsilon_kernels.so")
    monkeypatch.setattr(native, "RECORD", output / "epsilon_kernels.json")
    return sources


def test_a_machine_without_a_compiler_goes_on_and_says_so_once(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(native, "find_compiler", lambda: None)
    assert native.main() == 0
    assert "no C++ compiler" in capsys.readouterr().err
    assert native.main() == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(native, "find_compiler", lambda: "/usr/bin/new")
    assert not native.is_current()  # a compiler that has come since is tried


def test_a_compiler_that_fails_leaves_no_library(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if native.find_compiler() is None:
        pytest.skip("no compiler here")
    (elsewhere / "form.cpp").write_text("this is not C++\n")
    assert native.main() == 0
    assert "failed" in capsys.readouterr().err
    assert not native.LIBRARY.exists()
    assert "failed" in json.loads(native.RECORD.read_text())


def test_a_changed_source_makes_the_library_stale(elsewhere: Path) -> None:
    native.OUTPUT.mkdir()
    native.LIBRARY.write_bytes(b"")
    native.RECORD.write_text(json.dumps({"sources": native.source_digest()}))
    assert native.is_current()
    (elsewhere / "noise.h").write_text("// other noise\n")
    assert not native.is_current()


def test_the_path_taken_is_named_and_can_be_forced() -> None:
    with forced("pure-pytorch"):
        assert path_taken() == "pure-pytorch"
        assert best().name == "pure-pytorch"
    loaded = library()
    if loaded is None:
        pytest.skip("no library here")
    for form in loaded.forms:
        with forced(form):
            assert path_taken().startswith(f"cpp-{form}")
    with pytest.raises(ValueError, match="no form"), forced("of-another-machine"):
        pass


def test_squares_are_summed_as_in_float64() -> None:
    loaded = library()
    if loaded is None:
        pytest.skip("no library here")
    for size in (0, 1, 63, 64, 65, 1023, 1025, 100_003):
        values = torch.randn(size, generator=torch.Generator().manual_seed(size))
        exact = float(values.double().square().sum())
        for form in loaded.forms:
            with forced(form):
                found = loaded.squared_sum(values)
            assert exact * (1 - 2**-20) <= found <= exact * (1 + 2**-20)
