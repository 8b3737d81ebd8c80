"""A small model for hosts in other processes, which import it by name. It says what it saw, and can be made to die."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tolmach.pipelines.errors import ModelMissingError
from tolmach.processors.hosting import located, report


@dataclass(frozen=True)
class Ask:
    """What is to be doubled.

    Attributes:
        value: The number.
        step_s: How long each step takes, s.
        steps: How many.
        dies: Whether the process dies of it.
        fails: Whether it raises.
        samples: What goes along.
    """

    value: int
    step_s: float = 0.0
    steps: int = 1
    dies: bool = False
    fails: bool = False
    samples: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Told:
    """The answer.

    Attributes:
        value: Twice the number.
        batch: How many items were computed with it.
        begun: Items that the model had begun before, ever.
        pid: Of its process.
        sound: Sum of the samples.
    """

    value: int
    batch: int
    begun: int
    pid: int
    sound: float = 0.0


class Doubler:
    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        self.warmed: list[int] = []

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": self.name, "pid": os.getpid(), "warmed": list(self.warmed)}

    def warm(self, items: Sequence[Ask] = ()) -> None:
        self.warmed += [each.value for each in items]
        if any(each.fails for each in items):
            raise ValueError("cold")

    def run(self, items: Sequence[Ask]) -> Generator[None, None, list[Told]]:
        before, self.begun = self.begun, self.begun + len(items)
        if any(each.dies for each in items):
            os._exit(1)
        if any(each.fails for each in items):
            raise ValueError("no")
        for _ in range(max(each.steps for each in items) - 1):
            time.sleep(max(each.step_s for each in items))
            yield
        time.sleep(max(each.step_s for each in items))
        sounds = [0.0 if each.samples is None else float(each.samples.sum()) for each in items]
        values = [100 * len(self.warmed) + 2 * each.value for each in items] if "warmings" in self.name else None
        return [
            Told(values[n] if values else 2 * each.value, len(items), before, os.getpid(), sound)
            for n, (each, sound) in enumerate(zip(items, sounds, strict=True))
        ]


def load(name: str) -> Doubler:
    report("half way")
    return Doubler(name)


def load_file(path: str) -> Doubler:
    return Doubler(Path(located(path)).read_text(encoding="utf-8"))


def load_nothing(path: str) -> Doubler:
    raise ModelMissingError(f"no model {path}; give another")
