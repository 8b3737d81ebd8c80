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
from collections.abc import Mapping, Sequence

BENCHES = (
    "tools",
    "engine",
    "pipecat_bridge",
    "rtfx",
    "accuracy",
    "direction",
    "vad_bench",
    "whisper_quality",
    "noise",
    "mix_levels",
    "tempo",
    "backlog",
    "host",
    "files_beside_sessions",
    "ray_run",
    "memory",
    "normalizers",
)


def run_benches(package: str, names: Sequence[str], options: Mapping[str, Sequence[str]] | None = None) -> int:
    """Run modules of a package, each in a process of its own; returns the exit status.

    Args:
        package: Where they are.
        names: Which.
        options: Command line of some of them, by name.
    """
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n", flush=True)
    failed = []
    for name in names:
        started = time.monotonic()
        command = [sys.executable, "-m", f"{package}.{name}", *(options or {}).get(name, ())]
        if subprocess.run(command).returncode != 0:
            failed.append(name)
        print(f"\n_{name}: {time.monotonic() - started:.0f} s_\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="which; all of them by default")
    parser.add_argument("--quick", action="store_true", help="leave out the three-hour recording")
    args = parser.parse_args()
    options = {"memory": ("--minutes", "1", "10")} if args.quick else {}
    return run_benches("tests.bench", args.bench or BENCHES, options)


if __name__ == "__main__":
    sys.exit(main())
