"""How a model of full size loads, warms, shares its host and lets go: ``python -m tests.bench.full_size MODEL.nemo``.

Random weights will do: what is measured is memory and time, not text. Prints a table of Markdown; takes minutes and as
much memory as the model. Runs against older checkouts too, for a baseline of the same day.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tolmach.pipelines.frames import AudioFrame, Samples, UtteranceEnd, UtteranceStart, samples_to_ns
from tolmach.pipelines.testing import Harness
from tolmach.processors.canary.spec import SPEC

RATE_HZ = 16000
LONG_S, SHORT_S, HEADSTART_S = 20.0, 1.0, 1.0

GRAPH = """\
version: 1
name: full
elements:
  in:  {{type: test_src, wave: speech, rate_hz: 16000, duration_ms: 60000}}
  vad: {{type: webrtc_vad, max_utterance_ms: 20000}}
  ast: {{type: canary_ast, model: '{model}', source_lang: en, target_lang: ru}}
  out: {{type: fake_sink}}
links: [in -> vad -> ast -> out]
"""


def anonymous_bytes(pid: int | str = "self") -> int:
    """Anonymous memory of a process, bytes (``RssAnon``, proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Peak:
    """The most anonymous memory while it is entered, sampled every 20 ms."""

    def __enter__(self) -> Peak:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def noise(seconds: float, seed: int) -> Samples:
    """float32[n] at 16 kHz."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


async def translate(harness: Harness, samples: Samples, number: int) -> float:
    """Seconds until one utterance is answered."""
    began = time.monotonic()
    end_ns = samples_to_ns(len(samples), RATE_HZ)
    await harness.push(
        UtteranceStart(number, 0), AudioFrame(samples[:, None], RATE_HZ, 0, number), UtteranceEnd(number, 0, end_ns)
    )
    await harness.eos()
    return time.monotonic() - began


async def measure(model: Path) -> list[tuple[str, str]]:
    """Rows of the table."""
    import nemo.collections.asr.models  # noqa: F401 -- what it takes by itself is not the model's

    size = sum(p.stat().st_size for p in [model])
    settings: dict[str, Any] = {"model": str(model), "source_lang": "en", "target_lang": "ru"}
    one, other = Harness(SPEC, **settings), Harness(SPEC, **settings)
    before, began = anonymous_bytes(), time.monotonic()
    with Peak() as peak:
        await one.element.start()
    load_s, resting = time.monotonic() - began, anonymous_bytes()
    await other.element.start()
    weights = 4 * one.element._lease.info["parameters"]  # type: ignore[attr-defined]
    began = time.monotonic()
    if hasattr(one.element, "warm"):
        await one.element.warm()
    else:
        await one.element._lease.warm()  # type: ignore[attr-defined]
    warm_s = time.monotonic() - began
    first_s, second_s = [await translate(one, noise(3, 1), n) for n in (1, 2)]
    alone_s = await translate(one, noise(SHORT_S, 2), 3)
    long = asyncio.create_task(translate(other, noise(LONG_S, 3), 1))
    await asyncio.sleep(HEADSTART_S)
    behind_s = await translate(one, noise(SHORT_S, 2), 4)
    long_s = await long
    return [
        ("file", f"{size / 1e9:.2f} GB"),
        ("weights in float32", f"{weights / 1e9:.2f} GB"),
        ("loading", f"{load_s:.1f} s"),
        ("anonymous memory at the peak, less what NeMo takes", f"{(peak.bytes - before) / weights:.2f} x the weights"),
        ("anonymous memory at rest, less what NeMo takes", f"{(resting - before) / weights:.2f} x the weights"),
        ("anonymous memory at the peak, all of it", f"{peak.bytes / weights:.2f} x the weights"),
        ("anonymous memory at rest, all of it", f"{resting / weights:.2f} x the weights"),
        ("warm-up", f"{warm_s:.1f} s"),
        ("3 s of audio after the warm-up, first and second", f"{first_s:.1f} s, {second_s:.1f} s"),
        (f"{SHORT_S:g} s of audio alone", f"{alone_s:.1f} s"),
        (f"{SHORT_S:g} s of audio, {HEADSTART_S:g} s after another session's {LONG_S:g} s", f"{behind_s:.1f} s"),
        (f"those {LONG_S:g} s meanwhile", f"{long_s:.1f} s"),
    ]


def interrupt(model: Path, after_s: float, *more: str) -> float:
    """Seconds from SIGINT to the end of ``tolmach run``."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "full.yaml"
        graph.write_text(GRAPH.format(model=model))
        process = subprocess.Popen(
            [sys.executable, "-m", "tolmach", "run", str(graph), "-o", str(Path(folder) / "out"), *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ,
        )  # fmt: skip
        time.sleep(after_s)
        if process.poll() is not None:
            raise RuntimeError("tolmach run ended too early")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
        return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    model = Path(sys.argv[1]).resolve()
    began = time.monotonic()
    rows = asyncio.run(measure(model))
    ready_s = float(rows[2][1].split()[0]) + 12
    rows += [
        ("Ctrl-C while it loads", f"{interrupt(model, ready_s / 2):.1f} s"),
        ("Ctrl-C while it decodes", f"{interrupt(model, ready_s + 15):.1f} s"),
    ]
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    print(f"\n{time.monotonic() - began:.0f} s in all", file=sys.stderr)
    os._exit(0)  # hosts of older checkouts would be joined


if __name__ == "__main__":
    main()
