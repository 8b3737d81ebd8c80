"""Which text belongs to which reference sentence, and how late it came, by OmniSTEval or by time.

A graph cuts a recording where it hears a pause, the references are cut into sentences. OmniSTEval (Polák et al. 2025,
https://arxiv.org/abs/2509.17349) aligns the words of the one to the words of the other and gives the latencies of the
field. It runs in a process of its own (it forks, which a process with models must not), from files that are left in the
results, so that anybody can run it again. Without it a text belongs to the sentence it shares most time with.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_CELLS = 30_000_000
"""Words of the reference by words of the output of one recording that OmniSTEval is asked to align: it is written in
Python and takes a minute and 2 GB for so many, which is an hour of speech."""

TIMEOUT_S = 3600.0

SCORES = {
    "LongYAAL (CU)": "long_yaal_ms",
    "LongYAAL (CA)": "long_yaal_aware_ms",
    "LongLAAL (CU)": "stream_laal_ms",
    "LongLAAL (CA)": "stream_laal_aware_ms",
    "LongAL (CU)": "long_al_ms",
    "LongAL (CA)": "long_al_aware_ms",
    "LongDAL (CU)": "long_dal_ms",
    "LongDAL (CA)": "long_dal_aware_ms",
}
"""What is taken from its table. LongLAAL is StreamLAAL (Papi et al. 2024) on the newer alignment."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A text on its way to a reference sentence.

    Attributes:
        text: The text.
        start_s: Start of its source span, s.
        end_s: End of it, s.
        decided_s: See :class:`tolmach.pipelines.cli.evaluation.observation.Text`.
        aware_s: Likewise.
    """

    text: str
    start_s: float
    end_s: float
    decided_s: float | None
    aware_s: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """A reference sentence and its place in the recording, s."""

    start_s: float
    end_s: float
    reference: str


@dataclass(frozen=True, slots=True)
class Stream:
    """One recording's texts and references."""

    pieces: tuple[Piece, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """What belongs together.

    Attributes:
        outputs: For each stream the text of each of its sentences.
        by: ``omnisteval`` or ``time``.
        latency: Latencies over all, ms, by name; empty where they are not known.
        delays_s: For each stream and sentence, seconds from its begin to each of its words.
        note: Why something is missing, a sentence for people; "" otherwise.
    """

    outputs: tuple[tuple[str, ...], ...]
    by: str
    latency: dict[str, float] = field(default_factory=dict)
    delays_s: tuple[tuple[tuple[float, ...], ...], ...] = ()
    note: str = ""


def align(streams: Sequence[Stream], lang: str, folder: Path) -> Alignment:
    """Give each reference sentence its text.

    Args:
        streams: The recordings.
        lang: Target language.
        folder: Where the files for OmniSTEval go; made.

    Returns:
        The alignment. Blocks, for a minute an hour of speech.

    Raises:
        OSError: If the files cannot be written.
    """
    by_time = Alignment(tuple(outputs_by_time(stream) for stream in streams), "time")
    if not any(stream.pieces for stream in streams):
        return by_time
    write_files(streams, folder)
    if importlib.util.find_spec("omnisteval") is None:
        note = "Without OmniSTEval there are no latencies of the field: pip install 'tolmach[eval]'."
        return Alignment(by_time.outputs, "time", note=note)
    for stream in streams:
        cells = _words(p.text for p in stream.pieces) * _words(s.reference for s in stream.spans)
        if cells > MAX_CELLS:
            note = "A recording is too long for OmniSTEval to align; cut it into pieces of up to an hour."
            return Alignment(by_time.outputs, "time", note=note)
    return _omnisteval(streams, lang, folder, by_time)


def _words(texts: Iterable[str]) -> int:
    return sum(len(text.split()) for text in texts)


def outputs_by_time(stream: Stream) -> tuple[str, ...]:
    """For each sentence the texts that share more time with it than with any other one."""
    said: list[list[str]] = [[] for _ in stream.spans]
    for piece in stream.pieces:
        at = belongs_to(piece.start_s, piece.end_s, stream.spans)
        if at is not None and piece.text:
            said[at].append(piece.text)
    return tuple(" ".join(texts) for texts in said)


def belongs_to(start_s: float, end_s: float, spans: Sequence[Span]) -> int | None:
    """The sentence that shares most time with a stretch, else the nearest; None without sentences."""
    if not spans:
        return None

    def nearness(at: int) -> tuple[float, float]:
        shared = min(end_s, spans[at].end_s) - max(start_s, spans[at].start_s)
        return max(0.0, shared), shared

    return max(range(len(spans)), key=nearness)


def write_files(streams: Sequence[Stream], folder: Path) -> None:
    """Write what OmniSTEval and other scorers read: ``segmentation.json``, ``references.txt``, ``hypothesis.jsonl``.

    Hypotheses are in SimulEval's format, times in ms; words whose time nobody knows leave all times out. Raises
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    segments, references, hypotheses = [], [], []
    timed = all(p.decided_s is not None and p.aware_s is not None for s in streams for p in s.pieces)
    for at, stream in enumerate(streams):
        name = f"r{at:05d}.wav"
        for span in stream.spans:
            duration = round(max(span.end_s - span.start_s, 0.001), 3)
            segments.append({"wav": name, "offset": round(span.start_s, 3), "duration": duration})
            references.append(span.reference)
        row: dict[str, object] = {
            "source": name,
            "prediction": " ".join(w for p in stream.pieces for w in p.text.split()),
        }
        if timed:
            row["delays"] = [_ms(p.decided_s) for p in stream.pieces for _ in p.text.split()]
            row["elapsed"] = [_ms(p.aware_s) for p in stream.pieces for _ in p.text.split()]
        row["source_length"] = _ms(max((span.end_s for span in stream.spans), default=0.0))
        hypotheses.append(json.dumps(row, ensure_ascii=False))
    (folder / "segmentation.json").write_text(json.dumps(segments, indent=1) + "\n", encoding="utf-8")
    (folder / "references.txt").write_text("".join(f"{r}\n" for r in references), encoding="utf-8")
    (folder / "hypothesis.jsonl").write_text("".join(f"{h}\n" for h in hypotheses), encoding="utf-8")


def _ms(seconds: float | None) -> float:
    return round((seconds or 0.0) * 1000, 1)


def _omnisteval(streams: Sequence[Stream], lang: str, folder: Path, otherwise: Alignment) -> Alignment:
    out = folder / "omnisteval"
    command = [sys.executable, "-m", "omnisteval.cli", "longform"]
    command += ["--speech_segmentation", str(folder / "segmentation.json")]
    command += ["--ref_sentences_file", str(folder / "references.txt")]
    command += ["--hypothesis_file", str(folder / "hypothesis.jsonl"), "--output_folder", str(out)]
    command += ["--char_level" if lang.split("-")[0] in ("zh", "ja") else "--word_level"]
    said = ""
    # Its tokenizer is Moses' Perl script; where there is no Perl, words are cut at spaces.
    for tokenize in (["--lang", lang.split("-")[0]], []):
        try:
            ended = subprocess.run(  # noqa: S603 -- our own interpreter, no shell
                [*command, *tokenize], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if ended.returncode == 0:
            with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                return _read(streams, out)
        said = (ended.stderr.strip().splitlines() or ["no word"])[-1]
    note = f"OmniSTEval failed ({said[:300]}): no latencies of the field, and texts belong to sentences by time."
    return Alignment(otherwise.outputs, "time", note=note)


def _read(streams: Sequence[Stream], out: Path) -> Alignment:
    rows = [json.loads(line) for line in (out / "instances.resegmented.jsonl").read_text("utf-8").splitlines()]
    latency = {}
    for line in (out / "scores.tsv").read_text("utf-8").splitlines()[1:]:
        name, _, value = line.partition("\t")
        if name in SCORES and math.isfinite(number := float(value)):
            latency[SCORES[name]] = round(number, 1)
    outputs, delays, at = [], [], 0
    for stream in streams:
        mine = rows[at : at + len(stream.spans)]
        at += len(stream.spans)
        outputs.append(tuple(str(row["prediction"]) for row in mine))
        delays.append(tuple(tuple(round(d / 1000, 3) for d in row.get("emission_cu", ())) for row in mine))
    if at != len(rows):
        raise ValueError(f"{len(rows)} sentences instead of {at}")
    note = "" if latency else "No word came before the end of its recording, so there is no latency to speak of."
    return Alignment(tuple(outputs), "omnisteval", latency, tuple(delays), note)
