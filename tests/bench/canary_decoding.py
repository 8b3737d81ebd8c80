"""The decoder of ``canary_ast`` against NeMo's loop: ``python -m tests.bench.canary_decoding [MODEL.nemo]``.

Both decode the same number of tokens from the same encoder states, the end forbidden, on the same threads, in turns;
the best of the rounds counts. NeMo's figure is that of its greedy loop and, as a second one, with the
log-probabilities that Tolmach's gates need, which take another pass over the text (what ``canary_ast`` did before).
Without a model: the embedded phrasebook. One of canary-1b-v2's size takes 5 GB and, on idle cores, two minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = ((3.0, 20), (10.0, 40), (20.0, 60))
"""Seconds of audio, and tokens of text."""

ROUNDS = 3


def finished(steps: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def best(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each, the best of the rounds, in turns."""
    took = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            took[name] = min(took[name], time.perf_counter() - started)
    return took


def main() -> None:
    """Measure and print."""
    from tolmach.processors.canary.model import load
    from tolmach.processors.canary.request import CanaryRequest
    from tolmach.processors.canary.search import _scored

    root = Path(__file__).resolve().parents[2]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "processors" / "phrasebook" / "phrasebook.nemo"
    import torch

    model = load(str(path), "cpu")
    model._begin()
    nemo, decoder = model._model, model._greedy
    search = nemo.decoding.decoding
    search = getattr(search, "greedy_search", None) or search.beam_search
    allowed = torch.ones(model._classes, dtype=torch.bool)
    allowed[nemo.tokenizer.eos_id] = False
    print(f"## Decoding: {path.stem}, {model.info['parameters'] / 1e6:.1f} M parameters\n")
    print("| audio | tokens | encoder | NeMo's loop | and its scores | Tolmach, scores included | ratio |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for seconds, count in SHAPES:
        noise = (0.05 * np.random.default_rng(0).standard_normal(int(seconds * 16000))).astype(np.float32)
        item = CanaryRequest(noise, "en", "ru", count)
        with torch.inference_mode():
            started = time.perf_counter()
            states, mask = model._encode([item])
            encoder_s = time.perf_counter() - started
            prompt = model._prompts(item)

            def loop(
                states: Any = states, mask: Any = mask, prompt: Any = prompt, count: int = count
            ) -> list[list[int]]:
                tokens: list[int] = []
                inputs, memory, at = prompt[None], None, 0
                for step in range(count):
                    logits, memory, _ = search._one_step_forward(inputs, states, mask, memory, at, return_scores=False)
                    tokens.append(int(logits[:, -1].masked_fill(~allowed, -torch.inf).argmax()))
                    inputs, at = torch.tensor([tokens[-1:]]), len(prompt) + step
                return [tokens]

            def scored(states: Any = states, mask: Any = mask, prompt: Any = prompt, loop: Any = loop) -> object:
                return _scored(nemo, states, mask, prompt[None], loop())

            def ours(states: Any = states, mask: Any = mask, prompt: Any = prompt, count: int = count) -> Any:
                return finished(decoder.decode(states, mask, [prompt], [count], allowed))

            if list(ours()[0].tokens) != loop()[0]:
                raise RuntimeError("the tokens differ")
            took = best({"loop": loop, "scored": scored, "ours": ours})
        ms = {name: value * 1000 for name, value in took.items()}
        print(
            f"| {seconds:g} s | {count} | {encoder_s * 1000:,.0f} ms | {ms['loop']:,.0f} ms | {ms['scored']:,.0f} ms | "
            f"{ms['ours']:,.0f} ms | {ms['scored'] / ms['ours']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
