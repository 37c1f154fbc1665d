"""Compile the kernels with the system's C++ compiler: `python -m kernels.native.compile`.

Run at set-up, never in a worker. Only the standard library is used here, and quoted annotations,
since `dev.py` imports this with whatever Python it was called by. Where there is no compiler, or it
fails, the kernels run in pure PyTorch and say so; nothing else changes.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "csrc"
OUTPUT = HERE / "build"
LIBRARY = OUTPUT / "epsilon_kernels.so"
RECORD = OUTPUT / "epsilon_kernels.json"

COMMON = ["-std=c++17", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
WIDE = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
WIDE += ["-mprefer-vector-width=512"]
# Multiversioned by hand: no form is compiled for the machine that happens to compile it.
FORMS_X86 = {
    "plain": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": WIDE,
    "avx512vnni": [*WIDE, "-mavx512vnni"],
}
FORMS_ELSEWHERE = {"plain": FORMS_X86["plain"]}


class CompileFailed(Exception):
    """There is no library; the text says why in one line."""


def is_x86() -> bool:
    """Whether the forms for x86 processors are compiled."""
    return platform.machine().lower() in ("x86_64", "amd64")


def source_digest() -> str:
    """SHA-256 over the names and texts of all that is compiled, and over this file's flags."""
    digest = hashlib.sha256()
    for path in [*sorted(SOURCES.iterdir()), Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current() -> bool:
    """Whether what stands was made from these sources, or is known not to compile here."""
    try:
        record = json.loads(RECORD.read_text())
    except (OSError, ValueError):
        return False
    if record.get("sources") != source_digest():
        return False
    if "failed" in record:
        return bool(record.get("compiler") == find_compiler())
    return LIBRARY.is_file()


def find_compiler() -> "str | None":
    """The compiler named by CXX, else the system's g++ or clang++, else None."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = shutil.which(name) if name else None
        if found is not None:
            return found
    return None


def compile_library() -> Path:
    """Compile every form and link them.

    Raises:
        CompileFailed: no compiler, or one that fails; the record keeps it from being tried again.
    """
    OUTPUT.mkdir(exist_ok=True)
    compiler = find_compiler()
    try:
        with tempfile.TemporaryDirectory(dir=OUTPUT) as folder:
            made = _compiled(compiler, Path(folder))
            made.replace(LIBRARY)  # a process that has the old one open keeps it
    except CompileFailed as failure:
        _write_record({"compiler": compiler, "failed": str(failure)})
        raise
    _write_record({"compiler": compiler})
    return LIBRARY


def _compiled(compiler: "str | None", folder: Path) -> Path:
    """The linked library in a scratch folder; OpenMP is left out where it does not link."""
    if compiler is None:
        raise CompileFailed("no C++ compiler was found")
    threads = ["-fopenmp"] if _links(compiler, folder, "-fopenmp") else []
    optimise = [compiler, "-O3", *COMMON, *threads]
    jobs = []
    for form, flags in (FORMS_X86 if is_x86() else FORMS_ELSEWHERE).items():
        named = [f"-DEPSILON_FORM={form}", "-o", str(folder / f"{form}.o")]
        jobs.append([*optimise, *flags, *named, "-c", str(SOURCES / "form.cpp")])
    define = ["-DEPSILON_X86"] if is_x86() else []
    for name in ("library", "lattice"):
        named = [*define, "-o", str(folder / f"{name}.o")]
        jobs.append([*optimise, *named, "-c", str(SOURCES / f"{name}.cpp")])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(_run, jobs))
    objects = [str(path) for path in sorted(folder.glob("*.o"))]
    made = folder / LIBRARY.name
    _run([compiler, "-shared", *threads, *objects, "-o", str(made)])
    return made


def _links(compiler: str, folder: Path, flag: str) -> bool:
    probe = folder / "probe.cpp"
    probe.write_text("int probe() { return 0; }\n")
    try:
        _run([compiler, "-shared", "-fPIC", flag, str(probe), "-o", str(folder / "probe.so")])
    except CompileFailed:
        return False
    return True


def _run(command: "list[str]") -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode != 0:
        said = (answer.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise CompileFailed(f"{Path(command[0]).name} failed: {said}")


def _write_record(facts: "dict[str, str | None]") -> None:
    RECORD.write_text(json.dumps({"sources": source_digest(), **facts}, indent=2) + "\n")


def main() -> int:
    """Compile if the sources have changed; a machine without a compiler is not an error."""
    if is_current():
        return 0
    try:
        compile_library()
    except CompileFailed as failure:
        sys.stderr.write(f"kernels: {failure}; training runs in pure PyTorch\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
