"""A speech translation element whose model writes down how loud an utterance is; for what all engines share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.frames import Samples
from tolmach.processors.ast import AstSettings, ast_pads
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.hosting import HostKey, HostPool, Lease


class EchoSettings(AstSettings):
    """Settings of the echo."""

    group: int = 1
    answer: str = ""


class EchoModel:
    """Text is the peak in percent, or always one; log-probability is minus the peak; a peak above 1 is an error."""

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def info(self) -> Mapping[str, Any]:
        return {}

    def warm(self) -> None:
        pass

    def run(self, items: Sequence[Samples]) -> list[Hypothesis]:
        assert self.gate.wait(30)
        self.batches.append(len(items))
        return [self._hear(item) for item in items]

    def _hear(self, samples: Samples) -> Hypothesis:
        peak = float(np.abs(samples).max())
        if peak > 1:
            raise OverflowError("clipped")
        said = self.answer or f"{peak:.0%} of {len(samples)}"
        return Hypothesis(said if peak else "", -peak)


class EchoAst(SpeechTranslation[Samples]):
    """Echoes."""

    settings: EchoSettings

    async def open(self) -> Lease[Samples, Hypothesis]:
        self.engine = "echo"
        self.group_size = self.settings.group
        self.model = EchoModel(self.settings.answer)
        self.pool = HostPool()
        return await self.pool.acquire(HostKey("echo", "echo", "cpu"), lambda: self.model)

    def request(self, utterance: Utterance) -> Samples:
        return utterance.samples

    async def stop(self) -> None:
        await super().stop()
        if hasattr(self, "pool"):
            self.pool.unload_idle()


SPEC = ElementSpec(
    type="echo_ast",
    summary="Echo.",
    settings=EchoSettings,
    pads=ast_pads,
    build="tests.unit.echo_ast:EchoAst",
)
