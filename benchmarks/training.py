"""`dev.py bench training`: private steps over plain ones, and over other engines' (DESIGN 9)."""

import sys

from kernels.bench.training import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
