"""The same as ``tests.bench.backlog`` in calls: half an hour of continuous speech, and when a listener hears it.

A peer calls a graph of webrtc_src, a translator that knows its texts by heart and gives each when its time has come on
the microphone's clock, espeak_tts and webrtc_sink. When each is heard is what the sink says as its first packet goes
out (HeardMessage). The budgets are tried side by side, a call each, so the whole takes ``--minutes`` and a little.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

import numpy as np

from tests.bench import backlog
from tests.integration.webrtc_peer import Peer
from tolmach.pipelines.bus import HeardMessage, Message, StateMessage, UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.element import Context, Element, ElementSpec, Field, Pad, Settings
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.runtime.runner import GraphRunner
from tolmach.transports.webrtc.session_line import RESOURCE, Line

GRAPH = """\
version: 1
elements:
  in:  {{type: webrtc_src, paced: false, gate_playback: false}}
  wait: {{type: queue, max_ms: 60000}}
  ast: {{type: by_heart, faster: {faster}}}
  tts: {{type: espeak_tts, lang: ru, max_lag_ms: {budget_ms}}}
  out: {{type: webrtc_sink}}
links: [in -> wait -> ast -> tts -> out]
"""

TEXTS: dict[float, list[tuple[TranslationFrame, int]]] = {}
"""What is said, by how much faster than the voice."""


class ByHeartSettings(Settings):
    """Settings of the translator."""

    faster: float = Field(1.0, description="Which of the speeches.")


class ByHeart(Element):
    """Knows what will be said, and gives each text when as much has been heard as would have told it."""

    def __init__(self, settings: ByHeartSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._left = [frame for frame, _ in TEXTS[settings.faster]]

    async def process(self, frame: Frame, pad: str) -> None:
        """Listen to the clock."""
        while isinstance(frame, AudioFrame) and self._left and (self._left[0].decided_ns or 0) <= frame.end_ns:
            await self.context.push(self._left.pop(0))


BY_HEART = ElementSpec(
    type="by_heart",
    summary="Say what was learnt by heart.",
    settings=ByHeartSettings,
    pads=(Pad.sink("audio/raw"), Pad.src("text/x-translation, lang=ru, script=cyrl")),
    build=f"{__name__}:ByHeart",
)


class Listening(Peer):
    """A peer that keeps nothing of what it hears."""

    def _hear(self, *_: object) -> None:
        """Half an hour would be a third of a gigabyte."""


async def call(faster: float, budget_ms: int, minutes: float) -> backlog.Heard:
    """What came of a speech in a call."""
    heard = backlog.Heard(TEXTS[faster])
    length_ns = {frame.utterance: frame.end_ns - frame.pts_ns for frame, _ in heard.texts}
    playing = asyncio.Event()

    def note(message: Message) -> None:
        if isinstance(message, UnspokenMessage):
            heard.unspoken.append(message.utterance)
        elif isinstance(message, VoicePaceMessage):
            heard.told_ns[message.utterance] = message.lag_ns
            heard.tempos.append((message.tempo, length_ns[message.utterance]))
        elif isinstance(message, HeardMessage):
            heard.lags_ns[message.utterance] = message.lag_ns
        elif isinstance(message, StateMessage) and message.state == "playing":
            playing.set()

    line = Line()
    connection = line.connect()
    peer = Listening(np.zeros(1, np.float32))
    graph = load_graph(
        "backlog.yaml",
        text=GRAPH.format(faster=faster, budget_ms=budget_ms),
        registry=Registry.builtin().extended(BY_HEART, origin="bench"),
    )
    runner = GraphRunner(graph, resources={RESOURCE: line})
    runner.bus.subscribe(note)
    run = asyncio.create_task(runner.run())
    try:
        await playing.wait()
        await peer.call(connection)
        await asyncio.wait({run}, timeout=minutes * 60 + 60)
        if run.done():
            print(f"<!-- the call ended before its time: {connection.close_reason} -->")
    finally:
        await line.close()
        await connection.close()
        await run
        await peer.close()
    return heard


async def table(minutes: float, faster: float, budgets_ms: Sequence[int]) -> None:
    """Print it."""
    said = await backlog.speech(minutes * faster * 1.3, "ru")
    TEXTS[faster] = backlog.spoken_by_somebody(said, faster, minutes, "ru")
    print(f"## Speech that keeps up in a call ({minutes:g} minutes of continuous speech, espeak_tts, ru)\n")
    print(backlog.HEAD)
    found = await asyncio.gather(*(call(faster, budget_ms, minutes) for budget_ms in budgets_ms))
    for budget_ms, heard in zip(budgets_ms, found, strict=True):
        print(backlog.row(faster, budget_ms, heard))
        errors_ms = [abs(lag - heard.told_ns[n]) / 1e6 for n, lag in heard.lags_ns.items() if n in heard.told_ns]
        print(f"<!-- {len(errors_ms)} heard; the voice foretold it to {np.quantile(errors_ms, 0.95):.0f} ms (95 %) -->")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live.backlog", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--faster", type=float, default=1.25, help="than the voice, a share")
    parser.add_argument("--budget-ms", type=int, nargs="*", default=[0, 10_000, 20_000])
    args = parser.parse_args()
    asyncio.run(table(args.minutes, args.faster, args.budget_ms))


if __name__ == "__main__":
    main()
