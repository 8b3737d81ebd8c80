"""How long ``tolmach check`` takes on the graph of recordings, start of Python included.

What it takes is imports, mostly, and how fast those are differs from one hour to the next on a shared machine, by more
than two times where memory is short. So that of pydantic alone stands beside it: compare by that.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

GRAPH = Path(__file__).resolve().parents[2] / "config" / "recording.yaml"
ROUNDS = 11


def main() -> None:
    commands = {
        "python -c pass": ["-c", "pass"],
        "python -c 'from pydantic import BaseModel'": ["-c", "from pydantic import BaseModel"],
        f"tolmach check config/{GRAPH.name}": ["-m", "tolmach", "check", str(GRAPH)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    # Bytecode is written where it is installed; a machine that forbids it would be measured compiling.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(ROUNDS + 1):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=env)
            if number:  # the first one finds nothing in memory
                times[name].append(time.perf_counter() - started)
    print("## Tools\n")
    print(f"| command | median of {ROUNDS} |")
    print("|---|---:|")
    for name, taken in times.items():
        print(f"| `{name}` | {1000 * statistics.median(taken):.0f} ms |")


if __name__ == "__main__":
    main()
