"""The few figures that a table begins with, as people read them; the console's and the page's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        name: What it is.
        value: What it comes to.
        help: What it means, for those who ask.
        against: What it was in the other run, and how sure the difference is; "" without one.
    """

    name: str
    value: str
    help: str = ""
    against: str = ""


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number as it is read; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def headline(results: Mapping[str, Any]) -> list[Row]:
    """The table of an evaluation."""
    return list(_rows(results))


def _rows(results: Mapping[str, Any]) -> Iterator[Row]:
    against: Mapping[str, str] = (results.get("against") or {}).get("told", {})

    def row(key: str, name: str, value: str, explained: str = "") -> Row:
        return Row(name, value, explained, against.get(key, ""))

    for score in results["scores"]:
        direction = score["direction"].replace("-", " → ", 1)
        key = f"scores.{score['direction']}"
        yield row(f"{key}.chrf", f"chrF {direction}", number(score["chrf"]), "n-grams of letters, 0 to 100")
        yield row(f"{key}.bleu", f"BLEU {direction}", number(score["bleu"]), "n-grams of words, 0 to 100")
        latency = score["latency"] or {}
        for name, title in (("long_yaal", "LongYAAL"), ("stream_laal", "StreamLAAL")):
            if f"{name}_ms" in latency:
                aware = latency.get(f"{name}_aware_ms")
                value = f"{latency[f'{name}_ms'] / 1000:.2f} s"
                value += f" ({aware / 1000:.2f} s with computing)" if aware is not None else ""
                yield row(f"{key}.latency.{name}_ms", f"{title} {direction}", value, "average lagging of words")
    if (lag := results["lag"]) is not None:
        aware = lag["aware_s"]
        value = f"{lag['unaware_s']['p50']:.2f} s, p95 {lag['unaware_s']['p95']:.2f} s"
        value += f" ({aware['p50']:.2f} s, p95 {aware['p95']:.2f} s with computing)" if aware else ""
        yield row("lag.unaware_s.p50", "end of speech → text", value, "median over utterances")
    if (voice := results["voice"]) is not None:
        start, end = voice["start_offset_s"], voice["end_offset_s"]
        yield row(
            "voice.start_offset_s.p50", "voice starts after source", f"{start['p50']:.2f} s, p95 {start['p95']:.2f} s"
        )
        yield row("voice.end_offset_s.p50", "voice ends after source", f"{end['p50']:.2f} s, p95 {end['p95']:.2f} s")
        if voice["end_drift_s_per_min"] is not None:
            yield row(
                "voice.end_drift_s_per_min", "drift of its end", f"{voice['end_drift_s_per_min']:+.2f} s a minute"
            )
    if (judge := results.get("judge")) is not None:
        each = (f"{lang} {_percent(rate['word_error_rate'])}" for lang, rate in judge["by_language"].items())
        yield row("judge.word_error_rate", "words of the dub misheard", ", ".join(each) or "–", judge["model"])
    ends = results["endpoints"]
    cut = f"{ends['sentences_cut']} cut, {ends['sentences_without']} without one of their own"
    value = f"{number(ends['fragments'])} ({cut})"
    yield row("endpoints.fragments", "utterances a sentence", value, "1 is right")
    texts = results["texts"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in texts["rejected_by_reason"].items())
    yield row("texts.rejected", "rejected", f"{texts['rejected']}{f' ({reasons})' if reasons else ''}")
    if wrong := {pair: count for pair, count in texts["heard_as"].items() if _differ(*pair.split(" as "))}:
        value = ", ".join(f"{count} {pair}" for pair, count in wrong.items())
        yield row("", "taken for another language", f"{value}, of {sum(texts['heard_as'].values())}")
    yield row("texts.empty", "empty", str(texts["empty"]))
    if texts["erased_words"]:
        yield row("texts.erased_words", "words taken back", str(texts["erased_words"]), "of partial texts")
    if (silence := results["silence"]) is not None:
        value = f"{silence['characters']} characters in {silence['media_s']:.0f} s"
        yield row("silence.characters", "invented where nobody speaks", value)
    speed = results["speed"]
    memory = f", {speed['peak_memory_mib']:.0f} MiB" if speed.get("peak_memory_mib") else ""
    if speed["rtf"] is not None:
        yield row("speed.rtf", "real-time factor", f"{speed['rtf']:.3f} ({number(speed['rtfx'], 1)}x{memory})")
    counts = results["counts"]
    parts = [f"{counts['measured']} of {counts['recordings']} recordings, {counts['sentences']} sentences"]
    parts += [f"{counts[key]} {key.replace('_', ' ')}" for key in ("failed", "left_out", "not_run") if counts[key]]
    yield row("", "measured", ", ".join(parts))


def _differ(spoken: str, heard: str) -> bool:
    """Whether two tags are of different languages; regions do not count."""
    return spoken.split("-")[0] != heard.split("-")[0]


def _percent(share: float | None) -> str:
    return number(None if share is None else share * 100, 1, " %")
