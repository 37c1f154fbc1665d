"""`dev.py bench noise`: nanoseconds a coordinate of keyed noise (DESIGN 9)."""

import sys

from kernels.bench.noise import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
