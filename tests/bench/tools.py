"""How long ``tolmach check`` takes on the largest shipped graph, start of Python included."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "config"
ROUNDS = 5


def main() -> None:
    graph = max(CONFIG.glob("*.yaml"), key=lambda p: p.stat().st_size)
    print("## Tools\n")
    print("| command | median of 5 | goal |")
    print("|---|---:|---:|")
    times: dict[str, list[float]] = {"python": [], "check": []}
    # Bytecode is written where it is installed; a machine that forbids it would be measured compiling.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(ROUNDS):
        for name, command in (
            ("python", [sys.executable, "-c", "pass"]),
            ("check", [sys.executable, "-m", "tolmach", "check", str(graph)]),
        ):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=env)
            times[name].append(time.perf_counter() - started)
    print(f"| `python -c pass` | {1000 * statistics.median(times['python']):.0f} ms | |")
    print(f"| `tolmach check config/{graph.name}` | {1000 * statistics.median(times['check']):.0f} ms | 150 ms |")


if __name__ == "__main__":
    main()
