"""Memory over length: generated speech of 1, 30 and 180 minutes through the whole graph, RSS sampled on the way.

The graph is the shipped phrasebook graph with ``test_src`` (the speech sample in a loop) for its recording, so the
real voice activity detector, model and voice run; each length in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINUTES = (1, 30, 180)
GRAPH = """
version: 1
name: memory
elements:
  in:     {{type: test_src, wave: speech, duration_ms: {duration_ms}, rate_hz: 48000, channels: 2}}
  to_16k: {{type: resample, rate_hz: 16000, channels: 1}}
  vad:    {{type: silero_vad}}
  ast:    {{type: canary_ast, model: "embedded:phrasebook", source_lang: en, target_lang: ru}}
  fork:   {{type: tee}}
  tts:    {{type: espeak_tts, lang: ru}}
  dub:    {{type: file_sink, path: dub.flac}}
  subs:   {{type: subtitle_sink, path: subtitles.srt}}
  events: {{type: jsonl_sink, path: events.jsonl}}
links:
  - in -> to_16k -> vad -> ast -> fork
  - fork -> tts -> dub
  - fork -> subs
  - fork -> events
"""


def measure_here(minutes: float) -> dict[str, object]:
    """Run one length in this process; RSS in MiB at tenths of the way."""
    import psutil

    from tolmach.pipelines.bus import Message, PositionMessage
    from tolmach.pipelines.language.check import load_graph
    from tolmach.pipelines.runtime.runner import GraphRunner

    process = psutil.Process()
    samples: list[tuple[float, float]] = []
    step_ns = max(1, int(minutes * 60e9 / 10))

    def sample(message: Message) -> None:
        if isinstance(message, PositionMessage) and message.position_ns >= len(samples) * step_ns:
            samples.append((message.position_ns / 60e9, process.memory_info().rss / 2**20))

    with tempfile.TemporaryDirectory() as folder:
        graph = load_graph("memory.yaml", text=GRAPH.format(duration_ms=int(minutes * 60_000)))
        runner = GraphRunner(graph, base_dir=Path(folder))
        runner.bus.subscribe(sample)
        started = time.perf_counter()
        result = asyncio.run(runner.run())
        wall_s = time.perf_counter() - started
        if not result.ok:
            raise RuntimeError(f"{result.status}: {result.error or result.errors}")
    return {"minutes": minutes, "wall_s": wall_s, "rtfx": minutes * 60 / result.playing_s, "rss_mib": samples}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="*", default=list(MINUTES))
    parser.add_argument("--here", type=float, help="measure one length in this process and print JSON")
    args = parser.parse_args()
    if args.here is not None:
        print(json.dumps(measure_here(args.here)))
        return
    print("## Memory over length: the whole phrasebook graph on generated speech\n")
    print("| media | wall time | RTFx | RSS at 10 % | at 50 % | at 100 % | highest |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for minutes in args.minutes:
        command = [sys.executable, "-m", "tests.bench.memory", "--here", str(minutes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rss = [value for _, value in row["rss_mib"]]
        tenth, half = rss[min(1, len(rss) - 1)], rss[len(rss) // 2]
        print(
            f"| {minutes:g} min | {row['wall_s']:.0f} s | {row['rtfx']:.0f} | {tenth:.0f} MiB | {half:.0f} MiB | "
            f"{rss[-1]:.0f} MiB | {max(rss):.0f} MiB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
