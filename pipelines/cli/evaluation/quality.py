"""How good texts are: BLEU and chrF by sacrebleu, and word error rates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tolmach.pipelines.errors import GraphError

INSTALL = "pip install 'tolmach[eval]'"

BOOTSTRAP = 1000
"""Resamples of a paired bootstrap, sacrebleu's own number; its seed is fixed, so the answer is the same each time."""

MIN_BOOTSTRAP = 10
"""Sentences below which resampling them says nothing."""


@dataclass(frozen=True, slots=True)
class CorpusScore:
    """A score of many sentences.

    Attributes:
        score: The score, 0 … 100.
        signature: How it was made, as sacrebleu writes it for papers.
    """

    score: float
    signature: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Two systems on the same sentences.

    Attributes:
        score: This one's.
        against: The other one's.
        p_value: Probability of a difference as large if neither were better (paired bootstrap), or None where there
            are too few sentences.
    """

    score: float
    against: float
    p_value: float | None


def require_sacrebleu() -> Any:
    """The module.

    Raises:
        GraphError: If it is not installed, with the command that does it.
    """
    try:
        import sacrebleu
    except ImportError:
        raise GraphError(f"scores are made by sacrebleu, which is not installed: {INSTALL}") from None
    return sacrebleu


def bleu_tokenizer(lang: str) -> str:
    """The tokenizer of sacrebleu for a target language: one that finds words where no spaces stand between them."""
    return {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}.get(lang.split("-")[0], "13a")


def metrics(lang: str) -> dict[str, Any]:
    """The metrics of sacrebleu for a target language, by name."""
    sacrebleu = require_sacrebleu()
    return {"bleu": sacrebleu.BLEU(tokenize=bleu_tokenizer(lang)), "chrf": sacrebleu.CHRF()}


def corpus_scores(outputs: Sequence[str], references: Sequence[str], lang: str) -> dict[str, CorpusScore]:
    """BLEU and chrF (chrF2) of many sentences; empty without any."""
    if not outputs:
        return {}
    found = {}
    for name, metric in metrics(lang).items():
        score = metric.corpus_score(list(outputs), [list(references)])
        found[name] = CorpusScore(round(float(score.score), 2), str(metric.get_signature()))
    return found


def sentence_chrf(outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    """The chrF of each sentence: unlike BLEU it means something for a single one."""
    metric = require_sacrebleu().CHRF()
    pairs = zip(outputs, references, strict=True)
    return [round(float(metric.sentence_score(output, [reference]).score), 2) for output, reference in pairs]


def differences(
    outputs: Sequence[str], against: Sequence[str], references: Sequence[str], lang: str
) -> dict[str, Difference]:
    """This system against another on the same sentences, by metric: paired bootstrap (Koehn 2004) as sacrebleu does."""
    same = list(outputs) == list(against)
    if same or len(outputs) < MIN_BOOTSTRAP:
        mine, theirs = (corpus_scores(texts, references, lang) for texts in (outputs, against))
        sure = 1.0 if same else None
        return {name: Difference(score.score, theirs[name].score, sure) for name, score in mine.items()}
    require_sacrebleu()
    from sacrebleu.significance import PairedTest

    found = {}
    for name, metric in metrics(lang).items():
        test = PairedTest(
            [("against", list(against)), ("this", list(outputs))],
            {name: metric},
            [list(references)],
            test_type="bs",
            n_samples=BOOTSTRAP,
        )
        _, results = test()
        ((theirs, mine),) = (scores for key, scores in results.items() if key != "System")
        found[name] = Difference(round(mine.score, 2), round(theirs.score, 2), round(float(mine.p_value), 4))
    return found


# Word errors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words that differ.

    Attributes:
        errors: Least number of words to replace, leave out or put in.
        words: Words there should be.
    """

    errors: int
    words: int

    @property
    def rate(self) -> float | None:
        """Errors a word; None without words."""
        return self.errors / self.words if self.words else None


def word_errors(heard: str, said: str, lang: str) -> WordErrors:
    """Levenshtein distance in words between normalised texts."""
    said_words = normal_words(said, lang)
    return WordErrors(edit_distance(said_words, normal_words(heard, lang)), len(said_words))


def edit_distance(words: Sequence[str], others: Sequence[str]) -> int:
    """Levenshtein distance: least number of words to replace, leave out or put in."""
    row = list(range(len(others) + 1))
    for at, word in enumerate(words, 1):
        above, row[0] = row[0], at
        for column, other in enumerate(others, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (word != other))
    return row[-1]


def normal_words(text: str, lang: str) -> list[str]:
    """Words as a listener knows them: no case, no punctuation, ``ё`` is ``е``, numbers in words."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("ё", "е").replace("’", "'")
    text = re.sub(r"(?<=\d)[,.](?=\d{3}\b)", "", text)
    text = re.sub(r"\d+", lambda match: f" {_number(match[0], lang)} ", text)
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.replace("-", " "))


def _number(digits: str, lang: str) -> str:
    from num2words import num2words

    try:
        return str(num2words(int(digits[:15]), lang=lang.split("-")[0])).replace("ё", "е")
    except (NotImplementedError, OverflowError, ValueError, IndexError):
        return digits
