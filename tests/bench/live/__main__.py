"""``make bench-live``: the tables of live calls in docs/BENCHMARKS.md, one after the other.

``python -m tests.bench.live echo capacity`` runs some of them. All traffic stays on this machine, which needs two cores
and Chromium.
"""

from __future__ import annotations

import argparse
import sys

from tests.bench.__main__ import run_benches

BENCHES = ("echo", "speech", "joining", "capacity", "listeners", "room", "company")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which; all of them by default")
    args = parser.parse_args()
    return run_benches("tests.bench.live", args.bench or BENCHES)


if __name__ == "__main__":
    sys.exit(main())
