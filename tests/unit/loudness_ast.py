"""A translation engine whose model may run elsewhere: it writes down how loud an utterance is, and who heard it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tolmach.pipelines.element import ElementSpec
from tolmach.pipelines.frames import Samples
from tolmach.processors.ast import AstSettings, ast_pads
from tolmach.processors.ast.collector import Utterance
from tolmach.processors.ast.element import SpeechTranslation
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.hosting import HOSTS, HostKey, Lease


class LoudnessSettings(AstSettings):
    """Settings of the engine.

    Attributes:
        heard: Folder in which each process that computes leaves a file called by its number.
        copies: How many of them load, each of which waits for the others.
        group: Utterances in a batch.
    """

    heard: str = ""
    copies: int = 1
    group: int = 1


class Loudness:
    """Its text depends on all that is in a batch."""

    def __init__(self, heard: str) -> None:
        self.heard = Path(heard)

    @property
    def info(self) -> Mapping[str, Any]:
        return {}

    def warm(self, items: Sequence[Samples] = ()) -> None:
        pass

    def run(self, items: Sequence[Samples]) -> list[Hypothesis]:
        (self.heard / str(os.getpid())).touch()
        time.sleep(0.2)  # so that another copy is asked meanwhile
        batch = hashlib.sha256(b"".join(item.tobytes() for item in items)).hexdigest()
        return [Hypothesis(f"{float(abs(item).max()):.6f} of {len(item)} in {batch[:8]}", -0.1) for item in items]


def load(heard: str, copies: int) -> Loudness:
    (Path(heard) / f"loaded-{os.getpid()}").touch()
    until_s = time.monotonic() + 30
    while len(list(Path(heard).glob("loaded-*"))) < copies and time.monotonic() < until_s:
        time.sleep(0.02)
    return Loudness(heard)


class LoudnessAst(SpeechTranslation[Samples]):
    """Asks it."""

    settings: LoudnessSettings

    async def open(self) -> Lease[Samples, Hypothesis]:
        self.engine = "loudness"
        self.group_size = self.settings.group
        key, loader = (
            HostKey("loudness", self.settings.heard, "cpu"),
            partial(load, self.settings.heard, self.settings.copies),
        )
        return await HOSTS.acquire(key, loader, place=self.context.host)

    def request(self, utterance: Utterance) -> Samples:
        return utterance.samples


SPEC = ElementSpec(
    type="loudness_ast",
    summary="Tell how loud it is.",
    settings=LoudnessSettings,
    pads=ast_pads,
    build="tests.unit.loudness_ast:LoudnessAst",
    example="{type: loudness_ast}",
)
