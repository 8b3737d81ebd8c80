"""``make bench-live``: the tables of live calls in docs/BENCHMARKS.md, one after the other.

``python -m tests.bench.live echo capacity`` runs some of them. All traffic stays on this machine, which needs two cores
and Chromium.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time

BENCHES = ("echo", "speech", "joining", "capacity")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which; all of them by default")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n", flush=True)
    failed = []
    for name in args.bench or BENCHES:
        started = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"tests.bench.live.{name}"]).returncode != 0:
            failed.append(name)
        print(f"_{name}: {time.monotonic() - started:.0f} s_\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
