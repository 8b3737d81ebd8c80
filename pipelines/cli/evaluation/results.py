"""From what was seen to ``eval.json``: scores of each direction, endpoints, refusals, latency, speed, each sentence.

The schema is described in docs/EVAL.md and stays compatible within a ``v``: fields may be added.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tolmach.pipelines.cli.batch.records import write_whole
from tolmach.pipelines.cli.evaluation.alignment import Alignment, Piece, Span, Stream, align, belongs_to
from tolmach.pipelines.cli.evaluation.observation import Observation, Text
from tolmach.pipelines.cli.evaluation.quality import corpus_scores, sentence_chrf
from tolmach.pipelines.cli.evaluation.timing import (
    Heard,
    Lag,
    decided_s,
    distribution,
    drift_s_per_min,
    play_out,
    text_lags,
)
from tolmach.pipelines.recordings import Recording

NAME = "eval.json"
VERSION = 1
EXPORTS = "exports"
"""Folder with the files for other scorers."""

Status = Literal["measured", "failed", "left out", "not run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recording of the set after the run.

    Attributes:
        recording: The recording.
        status: What became of it.
        folder: Its results, below the folder of the evaluation; "" without any.
        seen: What was seen of it, or None.
        errors: Why it failed, or was left out.
    """

    recording: Recording
    status: Status
    folder: str = ""
    seen: Observation | None = None
    errors: tuple[str, ...] = ()


@dataclass(slots=True)
class _Scored:
    """A measured recording on its way into the results."""

    outcome: Outcome
    seen: Observation
    texts: list[Text]
    source_lang: str
    target_lang: str
    spans: tuple[Span, ...]
    heard: list[Heard] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    outputs: tuple[str, ...] = ()
    delays_s: tuple[tuple[float, ...], ...] = ()
    chrf: list[float | None] = field(default_factory=list)


def evaluate(outcomes: Sequence[Outcome], folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Score everything that was measured.

    Args:
        outcomes: All recordings of the set.
        folder: Of the evaluation; files for other scorers go below it.
        about: What the run was, put first.

    Returns:
        The contents of ``eval.json``. Blocks.

    Raises:
        GraphError: If sacrebleu is missing.
        OSError: If the files for other scorers cannot be written.
    """
    scored = [_scored(outcome, outcome.seen) for outcome in outcomes if outcome.seen and outcome.status == "measured"]
    spoken = [s for s in scored if s.outcome.recording.has_speech]
    notes: list[str] = []
    scores = []
    for direction in sorted({_direction(s) for s in spoken}):
        mine = [s for s in spoken if _direction(s) == direction]
        scores.append(_scores(direction, mine, folder / EXPORTS / direction, notes))
    for s in scored:
        if not s.outputs and s.spans:
            s.outputs = _joined(s)
    return {
        "v": VERSION,
        **about,
        "counts": _counts(outcomes, spoken),
        "scores": scores,
        "endpoints": _endpoints(spoken),
        "texts": _texts(spoken),
        "silence": _silence([s for s in scored if not s.outcome.recording.has_speech]),
        "lag": _lag([lag for s in spoken for lag in s.lags]),
        "voice": _voice(spoken),
        "speed": _speed(scored),
        "judge": None,
        "notes": [*about.get("notes", ()), *dict.fromkeys(notes)],
        "recordings": [_recording(outcome, scored) for outcome in outcomes],
    }


def save_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write ``eval.json``, whole or not at all. Raises OSError."""
    text = json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_whole(folder / NAME, text.encode("utf-8", errors="backslashreplace"))


def _direction(scored: _Scored) -> str:
    return f"{scored.source_lang or 'und'}-{scored.target_lang or 'und'}"


def _scored(outcome: Outcome, seen: Observation) -> _Scored:
    recording = outcome.recording
    texts = chosen_texts(seen.texts, recording.target_lang)
    source = recording.source_lang or next((t.source_lang for t in texts), "")
    target = recording.target_lang or next((t.target_lang for t in texts), "")
    spans = tuple(
        Span(s.start_s or 0.0, seen.media_s if s.end_s is None else s.end_s, s.translation) for s in recording.sentences
    )
    return _Scored(
        outcome, seen, texts, source, target, spans, heard=play_out(seen, texts), lags=text_lags(seen, texts)
    )


def chosen_texts(texts: Sequence[Text], target_lang: str) -> list[Text]:
    """Those of the translator that is judged: the first one that gives the wanted language, else the first one."""
    wanted = (t.element for t in texts if t.target_lang == target_lang)
    element = next(wanted, next((t.element for t in texts), ""))
    return [t for t in texts if t.element == element]


def _joined(scored: _Scored) -> tuple[str, ...]:
    said: list[list[str]] = [[] for _ in scored.spans]
    for text in scored.texts:
        at = belongs_to(text.start_s, text.end_s, scored.spans)
        if at is not None and text.text:
            said[at].append(text.text)
    return tuple(" ".join(texts) for texts in said)


# Scores ------------------------------------------------------------------------------------------------------------


def _scores(direction: str, mine: Sequence[_Scored], folder: Path, notes: list[str]) -> dict[str, Any]:
    """One direction: quality of what has references, and its latencies."""
    with_references = [s for s in mine if any(span.reference for span in s.spans)]
    lang = mine[0].target_lang
    alignment = _align(with_references, lang, folder)
    if alignment.note:
        notes.append(alignment.note)
    pairs: list[tuple[str, str]] = []
    sources: list[str] = []
    for at, s in enumerate(with_references):
        s.outputs = alignment.outputs[at]
        s.delays_s = alignment.delays_s[at] if alignment.delays_s else ()
        given = [n for n, span in enumerate(s.spans) if span.reference]
        each = sentence_chrf([s.outputs[n] for n in given], [s.spans[n].reference for n in given])
        s.chrf = [None] * len(s.spans)
        for n, value in zip(given, each, strict=True):
            s.chrf[n] = value
            pairs.append((s.outputs[n], s.spans[n].reference))
            sources.append(s.outcome.recording.sentences[n].transcript)
    found = corpus_scores([p[0] for p in pairs], [p[1] for p in pairs], lang)
    if pairs:
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in (("src", sources), ("mt", [p[0] for p in pairs]), ("ref", [p[1] for p in pairs])):
            (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    bleu, chrf = found.get("bleu"), found.get("chrf")
    return {
        "direction": direction,
        "recordings": len(mine),
        "sentences": len(pairs),
        "bleu": bleu.score if bleu else None,
        "chrf": chrf.score if chrf else None,
        "bleu_signature": bleu.signature if bleu else None,
        "chrf_signature": chrf.signature if chrf else None,
        "aligned_by": alignment.by,
        "latency": alignment.latency or None,
    }


def _align(mine: Sequence[_Scored], lang: str, folder: Path) -> Alignment:
    streams = [
        Stream(
            tuple(
                Piece(t.text, t.start_s, t.end_s, decided_s(t, s.seen.cuts), t.aware_s)
                for t in s.texts
                if t.text.strip()
            ),
            s.spans,
        )
        for s in mine
    ]
    return align(streams, lang, folder) if streams else Alignment((), "time")


# Everything else ---------------------------------------------------------------------------------------------------


def _counts(outcomes: Sequence[Outcome], spoken: Sequence[_Scored]) -> dict[str, Any]:
    statuses = Counter(outcome.status for outcome in outcomes)
    return {
        "recordings": len(outcomes),
        "measured": statuses["measured"],
        "failed": statuses["failed"],
        "left_out": statuses["left out"],
        "not_run": statuses["not run"],
        "sentences": sum(len(s.spans) for s in spoken),
    }


def _endpoints(spoken: Sequence[_Scored]) -> dict[str, Any]:
    """How sentences were cut: utterances a sentence, and how many sentences were not cut as they should be."""
    pieces: Counter[int] = Counter()
    reasons: Counter[str] = Counter()
    cut_by: Counter[str] = Counter()
    for s in spoken:
        pieces.update(_pieces(s))
        reasons.update(cut.reason for cut in s.seen.cuts)
        cut_by.update(cut.cut_by for cut in s.seen.cuts if cut.cut_by)
    sentences = sum(pieces.values())
    utterances = sum(len(s.seen.cuts) for s in spoken)
    return {
        "utterances": utterances,
        "fragments": round(utterances / sentences, 3) if sentences else None,
        "sentences_in_one": pieces[1],
        "sentences_cut": sum(count for number, count in pieces.items() if number > 1),
        "sentences_without": pieces[0],
        "reasons": dict(sorted(reasons.items())),
        "cut_by": dict(sorted(cut_by.items())),
    }


def _pieces(scored: _Scored) -> list[int]:
    """Utterances of each sentence."""
    pieces = [0] * len(scored.spans)
    for cut in scored.seen.cuts:
        if (at := belongs_to(cut.start_s, cut.end_s, scored.spans)) is not None:
            pieces[at] += 1
    return pieces


def _texts(spoken: Sequence[_Scored]) -> dict[str, Any]:
    texts = [t for s in spoken for t in s.texts]
    rejected = Counter(t.rejected for t in texts if t.rejected)
    # What was spoken and what it was taken for, where the set says the one: a graph may find the language itself.
    heard_as = Counter(
        f"{s.outcome.recording.source_lang} as {t.source_lang}"
        for s in spoken
        for t in s.texts
        if s.outcome.recording.source_lang and t.part == 0
    )
    return {
        "texts": sum(bool(t.text) for t in texts),
        "rejected": sum(rejected.values()),
        "rejected_by_reason": dict(rejected.most_common()),
        "empty": sum(not t.text and not t.rejected and t.part == 0 for t in texts),
        "words": sum(len(t.text.split()) for t in texts),
        "erased_words": sum(s.seen.erased_words for s in spoken),
        "heard_as": dict(heard_as.most_common()),
    }


def _silence(silent: Sequence[_Scored]) -> dict[str, Any] | None:
    """What was made of recordings in which nobody speaks."""
    if not silent:
        return None
    media_s = sum(s.seen.media_s for s in silent)
    characters = sum(len(t.text) for s in silent for t in s.texts)
    return {
        "recordings": len(silent),
        "media_s": round(media_s, 3),
        "texts": sum(bool(t.text) for s in silent for t in s.texts),
        "characters": characters,
        "characters_per_minute": round(characters / media_s * 60, 2) if media_s else None,
    }


def _lag(lags: Sequence[Lag]) -> dict[str, Any] | None:
    unaware = distribution(lag.unaware_s for lag in lags)
    aware = distribution(lag.aware_s for lag in lags if lag.aware_s is not None)
    if unaware is None:
        return None
    return {"unaware_s": asdict(unaware), "aware_s": asdict(aware) if aware else None}


def _voice(spoken: Sequence[_Scored]) -> dict[str, Any] | None:
    heard = [h for s in spoken for h in s.heard]
    if not heard:
        return None
    drifts = [d for s in spoken if (d := drift_s_per_min(s.heard)) is not None]
    lags = [s.seen.dub_lag_s for s in spoken if s.seen.dub_lag_s is not None]
    values = {
        "start_offset_s": [h.start_offset_s for h in heard],
        "end_offset_s": [h.end_offset_s for h in heard],
        "start_offset_aware_s": [h.aware_start_offset_s for h in heard],
        "end_offset_aware_s": [h.aware_end_offset_s for h in heard],
    }
    return {
        "utterances": len(heard),
        "duration_s": round(sum(h.spoken.duration_s for h in heard), 3),
        **{name: asdict(found) for name, each in values.items() if (found := distribution(each)) is not None},
        "end_drift_s_per_min": round(statistics.fmean(drifts), 3) if drifts else None,
        "dub_lag_s": max(lags, default=None),
    }


def _speed(scored: Sequence[_Scored]) -> dict[str, Any]:
    media_s, wall_s = sum(s.seen.media_s for s in scored), sum(s.seen.wall_s for s in scored)
    free = not any(s.seen.paced for s in scored)  # at the pace of the recording it says nothing
    return {
        "media_s": round(media_s, 3),
        "wall_s": round(wall_s, 3),
        "rtf": round(wall_s / media_s, 4) if media_s and free else None,
        "rtfx": round(media_s / wall_s, 2) if wall_s and free else None,
    }


def _recording(outcome: Outcome, scored: Sequence[_Scored]) -> dict[str, Any]:
    recording = outcome.recording
    s = next((s for s in scored if s.outcome is outcome), None)
    row: dict[str, Any] = {
        "name": recording.name,
        "status": outcome.status,
        "errors": list(outcome.errors),
        "folder": outcome.folder,
        "source_lang": s.source_lang if s else recording.source_lang,
        "target_lang": s.target_lang if s else recording.target_lang,
        "kind": recording.kind,
        "has_speech": recording.has_speech,
    }
    if s is None:
        return row
    pieces = _pieces(s)
    return row | {
        "media_s": s.seen.media_s,
        "wall_s": s.seen.wall_s,
        "utterances": len(s.seen.cuts),
        "texts": sum(bool(t.text) for t in s.texts),
        "rejected": dict(Counter(t.rejected for t in s.texts if t.rejected)),
        "cuts": [asdict(cut) for cut in s.seen.cuts],
        "characters": sum(len(t.text) for t in s.texts),
        "voice": [
            {
                "file": h.spoken.file,
                "utterance": h.spoken.utterance,
                "text": h.text,
                "source_start_s": h.spoken.source_start_s,
                "source_end_s": h.spoken.source_end_s,
                "offset_s": h.spoken.offset_s,
                "duration_s": h.spoken.duration_s,
                "start_s": h.start_s,
                "end_offset_s": h.end_offset_s,
            }
            for h in s.heard
        ],
        "lags_s": [asdict(lag) for lag in s.lags],
        "sentences": [
            {
                "start_s": span.start_s,
                "end_s": span.end_s,
                "transcript": sentence.transcript,
                "reference": span.reference,
                "output": s.outputs[at] if at < len(s.outputs) else "",
                "understood": _understood(s, span) if any(t.source_text for t in s.texts) else None,
                "chrf": s.chrf[at] if at < len(s.chrf) else None,
                "utterances": pieces[at],
                "delays_s": list(s.delays_s[at]) if at < len(s.delays_s) else [],
            }
            for at, (span, sentence) in enumerate(zip(s.spans, recording.sentences, strict=True))
        ],
    }


def _understood(scored: _Scored, span: Span) -> str:
    mine = (t for t in scored.texts if t.source_text and _at(scored, t) is span)
    return " ".join(t.source_text for t in mine if t.source_text)


def _at(scored: _Scored, text: Text) -> Span | None:
    at = belongs_to(text.start_s, text.end_s, scored.spans)
    return None if at is None else scored.spans[at]
