"""Which language was spoken, and into which one it is translated: the rule for the target, and hysteresis.

With ``source_lang: auto`` an engine weighs a few languages against each other for each utterance (``languages``). Who
decides is this module, which knows no engine: :class:`DirectionFinder` takes the engine's probabilities of one
utterance after another and says in which language it takes each to be spoken. A language is left only for one that is
at least ``min_language_confidence`` likely: between the sentences of a conversation somebody coughs, says "okay", or
speaks so little that any language would do, and none of that is a reason to turn the conversation round. (Hysteresis:
a threshold for leaving a state, none for staying in it.)

What is decided depends on the order of the utterances and on nothing else, so recordings give the same directions in
every run. :meth:`DirectionFinder.decide` changes nothing: it may be asked about a text that is thrown away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["AUTO", "Decision", "Direction", "DirectionFinder", "Likelihoods", "directions"]

AUTO = "auto"
"""What a language is called that is found, or that follows from the other one."""

Likelihoods = tuple[tuple[str, float], ...]
"""Languages with the probability that each was spoken, 0 … 1, the sum of which is 1."""


class Direction(NamedTuple):
    """From which language into which, BCP-47; the same twice transcribes."""

    source_lang: str
    target_lang: str


def directions(source_lang: str, target_lang: str, languages: Sequence[str]) -> tuple[Direction, ...]:
    """The directions that settings allow: one, or one for each language that may be spoken.

    The target, where it is :data:`AUTO`, is the other one of two languages. A target that is given is what everything
    is translated into; what is spoken in it goes into the first other language of ``languages``, for whoever listens
    hears it as it is.

    Args:
        source_lang: Language that is spoken, or :data:`AUTO`: one of ``languages``.
        target_lang: Language of the text, or :data:`AUTO`.
        languages: Those of the conversation.

    Raises:
        ValueError: If that says no direction; says what does.
    """
    if AUTO not in (source_lang, target_lang):
        return (Direction(source_lang, target_lang),)
    role = "source_lang" if source_lang == AUTO else "target_lang"
    if len(set(languages)) < 2 or len(set(languages)) < len(languages):
        raise ValueError(f"{role} {AUTO} needs `languages`, at least two different ones: languages: [en, ru]")
    if target_lang == AUTO and len(languages) > 2:
        raise ValueError(
            f"with target_lang {AUTO} there is one language for the other, so `languages` must be two, not "
            f"{', '.join(languages)}; or say target_lang"
        )
    sources = languages if source_lang == AUTO else (source_lang,)
    return tuple(Direction(source, _target(source, target_lang, languages)) for source in sources)


def _target(source: str, target: str, languages: Sequence[str]) -> str:
    if target not in (AUTO, source):
        return target
    return next(lang for lang in languages if lang != source)


class Decision(NamedTuple):
    """In which language an utterance is taken to be spoken.

    Attributes:
        language: The language.
        confidence: Probability that it was, 0 … 1.
        likeliest: What the evidence says by itself; another one if the language before was kept.
        evidence: Probability of that one, 0 … 1.
    """

    language: str
    confidence: float
    likeliest: str
    evidence: float

    @property
    def kept(self) -> bool:
        """Whether another language was likelier, but not likely enough to leave the one before."""
        return self.language != self.likeliest


class DirectionFinder:
    """Decides utterance after utterance which language is spoken."""

    def __init__(self) -> None:
        self.last: str | None = None
        """Language of the last utterance that was confirmed; None before the first."""

    def decide(self, likelihoods: Likelihoods, least: float) -> Decision:
        """The language of an utterance, by its own evidence and the last utterance's language; changes nothing.

        Args:
            likelihoods: Of the languages in question, at least one; of equals the earlier one wins.
            least: Probability that leaving the last language takes, 0 … 1.
        """
        found = dict(likelihoods)
        likeliest = max(found, key=lambda lang: found[lang])
        language = likeliest
        if self.last in found and found[likeliest] < least:
            language = str(self.last)
        return Decision(language, found[language], likeliest, found[likeliest])

    def confirm(self, decision: Decision) -> None:
        """The utterance was spoken and has a text: what comes next is compared with it."""
        self.last = decision.language
