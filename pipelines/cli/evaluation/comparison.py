"""Two evaluations side by side: ``--against``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.evaluation.quality import differences
from tolmach.pipelines.cli.evaluation.results import NAME, VERSION
from tolmach.pipelines.errors import GraphError

COMPARED = (
    "lag.unaware_s.p50",
    "lag.aware_s.p50",
    "voice.start_offset_s.p50",
    "voice.end_offset_s.p50",
    "voice.end_drift_s_per_min",
    "judge.word_error_rate",
    "endpoints.fragments",
    "texts.rejected",
    "texts.empty",
    "texts.erased_words",
    "silence.characters",
    "speed.rtf",
    "speed.peak_memory_mib",
)
"""Figures that are set side by side as they are, by their path in ``eval.json``."""


SAME = ", the same"


def load_results(folder: Path) -> dict[str, Any]:
    """The ``eval.json`` of an earlier evaluation.

    Raises:
        GraphError: If there is none that this version can read.
    """
    path = folder / NAME if folder.is_dir() else folder
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GraphError(f"--against {folder}: there is no {NAME}") from None
    except (OSError, ValueError) as error:
        raise GraphError(f"--against {folder}: {NAME} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("v") != VERSION or not isinstance(data.get("recordings"), list):
        raise GraphError(f"--against {folder}: {NAME} is of another version of tolmach eval")
    return data


def compare(results: Mapping[str, Any], earlier: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What differs between this evaluation and an earlier one.

    Quality is compared on the sentences that both have scored with the same reference; everything else as it stands.

    Returns:
        ``folder``, ``graph``, ``made`` of the earlier one; ``scores`` by direction; ``figures`` by path, each with
        ``this`` and ``against``; ``told``, the same by path as people read it.
    """
    told: dict[str, str] = {}
    scores = {}
    for direction, lang, pairs in _pairs(results, earlier):
        outputs, theirs, references = (list(each) for each in zip(*pairs, strict=True))
        found = differences(outputs, theirs, references, lang)
        scores[direction] = {"sentences": len(pairs)} | {
            metric: {"this": d.score, "against": d.against, "p_value": d.p_value} for metric, d in found.items()
        }
        for metric, d in found.items():
            sure = "too few sentences to tell" if d.p_value is None else f"p = {d.p_value:.3f}"
            differs = f" ({d.score - d.against:+.2f}, {sure})" if d.score != d.against else SAME
            told[f"scores.{direction}.{metric}"] = f"{d.against:.2f}{differs}"
    figures = {}
    paths = [f"scores.{s['direction']}.latency.{name}" for s in results["scores"] for name in s["latency"] or {}]
    for path in (*COMPARED, *paths):
        this, other = figure(results, path), figure(earlier, path)
        if this is not None and other is not None:
            figures[path] = {"this": this, "against": other}
            scale, unit = _unit(path)
            difference = f" ({_short((this - other) * scale, sign=True)}{unit})" if this != other else SAME
            told[path] = f"{_short(other * scale)}{unit}{difference}"
    return {
        "folder": name,
        "graph": earlier.get("graph", ""),
        "made": earlier.get("made", ""),
        "scores": scores,
        "figures": figures,
        "told": told,
    }


def figure(results: Mapping[str, Any], path: str) -> float | None:
    """A figure by its path; None where there is none."""
    value: Any = results
    for key in path.split("."):
        if isinstance(value, list):  # scores, by direction
            value = next((each for each in value if each.get("direction") == key), None)
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _pairs(
    results: Mapping[str, Any], earlier: Mapping[str, Any]
) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """For each direction: its target language, and of each common sentence this output, that output, the reference."""
    before = {
        (row["name"], at): sentence
        for row in earlier["recordings"]
        for at, sentence in enumerate(row.get("sentences", ()))
        if sentence.get("chrf") is not None
    }
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for row in results["recordings"]:
        target = row["target_lang"] or "und"
        direction = f"{row['source_lang'] or 'und'}-{target}"
        for at, sentence in enumerate(row.get("sentences", ())):
            other = before.get((row["name"], at))
            same = other is not None and other["reference"] == sentence["reference"]
            if other is not None and same and sentence["chrf"] is not None:
                found.setdefault((direction, target), []).append(
                    (sentence["output"], other["output"], sentence["reference"])
                )
    for (direction, target), pairs in sorted(found.items()):
        yield direction, target, pairs


def _unit(path: str) -> tuple[float, str]:
    """What a figure is multiplied by for people, and in what it is then."""
    if path.endswith("_ms"):
        return 0.001, " s"
    if path.endswith("_rate"):
        return 100.0, " %"
    return 1.0, " s" if "_s." in path else " s a minute" if path.endswith("_s_per_min") else ""


def _short(value: float, *, sign: bool = False) -> str:
    text = f"{value:+.3f}" if sign else f"{value:.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
