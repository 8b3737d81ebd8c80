"""Why a recording gave no text: nobody gets an empty result, or ten rejections, in silence."""

from __future__ import annotations

from collections import Counter

from tolmach.pipelines.bus import Message, PositionMessage, TranslationMessage, UtteranceEndMessage
from tolmach.pipelines.element import heard_languages
from tolmach.pipelines.frames import NS_PER_S
from tolmach.pipelines.graph import Graph

__all__ = ["Verdict"]

_LOUD_NS = 3 * NS_PER_S
"""Sound in which somebody should have been heard; less is a door or a cough."""

_ADVICE = {
    "not in the phrasebook": "the demonstration phrasebook knows its own sentences only; use a graph with a real model",
    "wrong script": "the model answered in another language; check source_lang and target_lang",
    "more text than speech": "the model has made something up; noise or music over the voice have that effect",
    "repetition": "the model went round in circles, as on noise, music or a wrong source_lang",
    "no speech": "the model heard no words; listen whether it is speech, and try another channel",
    "low confidence": "a wrong source_lang, noise or music over the voice have that effect; min_logprob moves the gate",
}


class Verdict:
    """Listens to the bus of one graph and says at its end why there is no text. Pure: knows only what it was told.

    Args:
        graph: The graph that runs.
    """

    def __init__(self, graph: Graph) -> None:
        nodes = graph.nodes.values()
        self._live = any(node.spec.live for node in nodes)
        self._segments = any(link.segmented for link in graph.links)
        self._langs = sorted({lang for node in nodes for lang in heard_languages(node.settings)})
        self._utterances = 0
        self._texts = 0
        self._rejections: Counter[str] = Counter()
        self._loud_ns = 0
        self._choice = ""  # the source that has other tracks to choose from

    def take(self, message: Message) -> None:
        """Subscribe this to the bus."""
        if isinstance(message, UtteranceEndMessage):
            self._utterances += 1
        elif isinstance(message, TranslationMessage) and message.frame.final:
            if message.frame.text:
                self._texts += 1
            elif not message.frame.more:  # an utterance is counted once, with its last part
                self._rejections[message.frame.rejected or "no text"] += 1
        elif isinstance(message, PositionMessage):
            self._loud_ns = max(self._loud_ns, message.loud_ns)
            if message.other_tracks:
                self._choice = self._choice or message.element

    def text(self) -> str | None:
        """A sentence for people, or None while there is nothing to explain."""
        if self._live or self._texts:
            return None
        if self._rejections:
            return self._all_rejected()
        if self._segments and not self._utterances and self._loud_ns >= _LOUD_NS:
            return (
                f"No speech was found, although {self._loud_ns / NS_PER_S:.0f} s of the recording are loud. "
                f"If somebody speaks in it, choose another channel{self._other_track()}, "
                "or lower the threshold of the VAD."
            )
        return None

    def _all_rejected(self) -> str:
        total = self._rejections.total()
        counts = ", ".join(f"{number} × {reason}" for reason, number in self._rejections.most_common(4))
        which = "Its only utterance was" if total == 1 else f"All {total} utterances were"
        reason, _ = self._rejections.most_common(1)[0]
        hints = [_ADVICE[reason]] if reason in _ADVICE else []
        if self._langs:
            hints.append(f"if another language is spoken than {', '.join(self._langs)}, set source_lang")
        if other := self._other_track():
            hints.append(f"choose{other.removeprefix(' or')}")
        advice = "; ".join(hints) or "try another model"
        return f"{which} rejected ({counts}): there is no text. {advice[0].upper()}{advice[1:]}."

    def _other_track(self) -> str:
        return f" or another track (--set {self._choice}.track=NUMBER)" if self._choice else ""
