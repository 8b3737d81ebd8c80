"""Where a running graph is listened to: its texts as readers and voices get them, its utterances where they are cut.

What is shown is what flows. Captions, transcripts, reports and timings are made from the frames that pass these points,
and no element has to post anything for them. The points depend on the links alone:

- **Texts** where they take their last form on the way into a voice, a file or a peer: at the src pad of the last
  element that is no :attr:`~tolmach.pipelines.element.ElementSpec.passthrough`. A word mask behind a translator is
  honoured by the page and the reports as it is by the voice. Where the ways of one translator's text part and differ,
  what a voice speaks is told, else what the first sink in the graph gets: each text once.
- **Utterances** at the src pads of what cuts them: an element that gives segmented audio, and takes neither segmented
  audio nor text.
- **Voices** at the src pads of what takes text and gives audio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from tolmach.pipelines.bus import Message, TranslationMessage, UtteranceEndMessage, UtteranceStartMessage, VoiceMessage
from tolmach.pipelines.frames import Frame, TranslationFrame, UtteranceEnd, UtteranceStart
from tolmach.pipelines.graph import Graph, PadRef

__all__ = ["Point", "Probe", "Tap", "points_of", "taps_of"]

Tap = Callable[[Frame], Message | None]
"""What is to be told of a frame that is no audio, or None."""

Probe = Callable[[Frame], Awaitable[None]]
"""Is given every frame that leaves a src pad, audio included, before it goes on, as GStreamer's pad probes are; what it
waits for, the stream waits for."""

Point = Literal["text", "utterance", "voice"]
"""What passes a point."""


def taps_of(graph: Graph) -> dict[PadRef, Tap]:
    """What to tell of the frames that leave each src pad; only of those that are listened to."""
    taps: dict[Point, Tap] = {"text": _text, "utterance": _utterance, "voice": _voice}
    return {pad: taps[point] for pad, point in points_of(graph).items()}


def points_of(graph: Graph) -> dict[PadRef, Point]:
    """The src pads that are listened to, and for what."""
    points: dict[PadRef, Point] = dict.fromkeys(_text_points(graph), "text")
    for name in graph.order:
        takes_text = any(link.carries("text") for link in graph.links_to(name))
        takes_utterances = any(link.segmented for link in graph.links_to(name))
        for link in graph.links_from(name):
            if takes_text and link.carries("audio") and not link.carries("text"):
                points[link.src] = "voice"
            elif link.segmented and not (takes_text or takes_utterances):
                points[link.src] = "utterance"
    return points


def _text(frame: Frame) -> Message | None:
    return TranslationMessage(frame, pts_ns=frame.pts_ns) if isinstance(frame, TranslationFrame) else None


def _utterance(frame: Frame) -> Message | None:
    if isinstance(frame, UtteranceStart):
        return UtteranceStartMessage(frame, pts_ns=frame.pts_ns)
    return UtteranceEndMessage(frame, pts_ns=frame.end_ns) if isinstance(frame, UtteranceEnd) else None


def _voice(frame: Frame) -> Message | None:
    return VoiceMessage(frame, pts_ns=frame.pts_ns) if isinstance(frame, UtteranceStart) else None


def _text_points(graph: Graph) -> set[PadRef]:
    candidates: dict[str, list[tuple[bool, int, PadRef]]] = {}  # by the element that a text comes from
    origins: dict[str, frozenset[str]] = {}
    last_changed: dict[PadRef, frozenset[PadRef]] = {}  # by src pad: those behind which its texts stay as they are
    for place, name in enumerate(graph.order):
        node = graph.nodes[name]
        given = [link.src for link in graph.links_to(name) if link.carries("text")]
        onward = [link.src for link in graph.links_from(name) if link.carries("text")]
        before = frozenset().union(*(last_changed[pad] for pad in given))
        origins[name] = frozenset().union(*(origins[pad.node] for pad in given)) or frozenset({name})
        last_changed |= {pad: before if before and node.spec.passthrough else frozenset({pad}) for pad in onward}
        if not onward:
            for point in before:
                for origin in origins[point.node]:
                    candidates.setdefault(origin, []).append((node.is_sink, place, point))
    return {min(ranks, key=lambda rank: (*rank[:2], str(rank[2])))[2] for ranks in candidates.values()}
