"""``make bench``: every table of docs/BENCHMARKS.md, one after the other.

``python -m tests.bench engine rtfx`` runs some of them; ``--quick`` leaves out the three-hour recording.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time

BENCHES = ("tools", "engine", "rtfx", "accuracy", "vad_bench", "whisper_quality", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which; all of them by default")
    parser.add_argument("--quick", action="store_true", help="leave out the three-hour recording")
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n", flush=True)
    failed = []
    for name in args.bench or BENCHES:
        command = [sys.executable, "-m", f"tests.bench.{name}"]
        if name == "memory" and args.quick:
            command += ["--minutes", "1", "10"]
        started = time.monotonic()
        if subprocess.run(command).returncode != 0:
            failed.append(name)
        print(f"\n_{name}: {time.monotonic() - started:.0f} s_\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
