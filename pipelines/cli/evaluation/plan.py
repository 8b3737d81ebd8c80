"""Which recordings of a set a graph can be judged on, and with which languages: from references to jobs of a batch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.batch.jobs import Job, job_params, plan_jobs
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import CheckResult, GraphSource, check_graph
from tolmach.pipelines.language.include import Includes
from tolmach.pipelines.language.variables import ParamDef, param_with_role
from tolmach.pipelines.recordings import Recording

AUTO = "auto"
"""A source language that the graph finds by itself: the set's word is not given to it."""

RECORDINGS = "recordings"
"""Folder of the recordings' results, below that of the evaluation."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A recording of the set and what is to be done with it.

    Attributes:
        recording: The recording, with the languages the graph gets where the set says none.
        job: Its job, or None when it is left out.
        why: Why it is left out, or "".
    """

    recording: Recording
    job: Job | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the batch is to do.

    Attributes:
        planned: All recordings of the set, in its order.
        checked: The graph, checked as the first job gets it.
        declared: Its params.
        notes: What people should know before they read the figures of recordings with several utterances.
    """

    planned: tuple[Planned, ...]
    checked: CheckResult
    declared: tuple[ParamDef, ...]
    notes: tuple[str, ...] = ()

    @property
    def jobs(self) -> list[Job]:
        """The jobs."""
        return [p.job for p in self.planned if p.job is not None]


def language_params(recording: Recording, declared: Sequence[ParamDef], given: Mapping[str, Any]) -> dict[str, str]:
    """Values of the params with the roles source_lang and target_lang for a recording, as far as nobody gave them.

    Where the set does not say what to translate into, a graph that would translate a language into itself is turned
    round. A graph that finds the language by itself is not told.
    """
    values: dict[str, str] = {}
    heard, wanted = param_with_role(declared, "source_lang"), param_with_role(declared, "target_lang")
    source, target = recording.source_lang, recording.target_lang
    if heard is not None and heard.name not in given and source and heard.default != AUTO:
        values[heard.name] = source
    if wanted is not None and wanted.name not in given and wanted.default != AUTO:
        if target:
            values[wanted.name] = target
        elif heard is not None and heard.name in values and source == wanted.default:
            values[wanted.name] = str(heard.default)
    return values


def make_plan(
    recordings: Sequence[Recording],
    source: GraphSource,
    output: Path,
    *,
    params: Mapping[str, Any],
    overrides: Mapping[str, Any],
    includes: Includes,
    declared: Sequence[ParamDef],
) -> Plan:
    """Make a job of each recording that the graph translates.

    Args:
        recordings: The set.
        source: Where the graph is written.
        output: Folder of the evaluation.
        params: Values of the graph's params, but for each recording's own.
        overrides: Values of ``element.setting``.
        includes: Where the files lie that the graph includes.
        declared: The graph's params.

    Raises:
        GraphError: If no recording can be used, with the reasons.
    """
    jobs = {
        os.path.realpath(job.input): job
        for job in plan_jobs([r.path for r in recordings], output / RECORDINGS)
        if job.input is not None
    }
    checks: dict[tuple[tuple[str, str], ...], CheckResult] = {}
    planned: list[Planned] = []
    first: CheckResult | None = None
    for recording in recordings:
        job = jobs[os.path.realpath(recording.path)]
        mine = language_params(recording, declared, params)
        job = replace(job, params=mine)
        key = tuple(sorted(mine.items()))
        if (checked := checks.get(key)) is None:
            values = job_params(job, params, declared)
            checked = checks[key] = check_graph(
                source, params=values, overrides=overrides, require_params=True, includes=includes
            )
        why = job.problem or (_unfit(recording, checked.graph) if checked.graph is not None else _wrong(checked, mine))
        if checked.graph is not None:
            first = first or checked
            target = recording.target_lang or _only(text_languages(checked.graph))
            recording = replace(recording, target_lang=target)
        planned.append(Planned(recording, None if why else job, why))
    usable = any(p.job is not None for p in planned)
    # What is wrong whatever the language is told by the check itself, with its place.
    chosen = first or next(iter(checks.values()))
    if not usable and first is not None:
        reasons = "\n".join(dict.fromkeys(f"{p.recording.name}: {p.why}" for p in planned[:10]))
        raise GraphError(f"no recording of the set can be judged with this graph:\n{reasons}")
    return Plan(tuple(planned), chosen, tuple(declared), tuple(_notes(chosen.graph)))


def text_languages(graph: Graph) -> frozenset[str]:
    """Languages of the texts that a graph makes, as far as its links say."""
    langs = (link.caps.value("lang") for link in graph.links if link.carries("text") and not link.caps.is_any)
    return frozenset(lang for lang in langs if isinstance(lang, str))


def _only(langs: frozenset[str]) -> str:
    return next(iter(langs)) if len(langs) == 1 else ""


def _unfit(recording: Recording, graph: Graph) -> str:
    langs = text_languages(graph)
    if not recording.has_speech or not langs:
        return ""
    if langs == {recording.source_lang}:
        return f"it is in {recording.source_lang}, which is what the graph translates into"
    if recording.target_lang and recording.target_lang not in langs:
        return f"its translation is {recording.target_lang}, and the graph translates into {', '.join(sorted(langs))}"
    return ""


def _wrong(checked: CheckResult, mine: Mapping[str, str]) -> str:
    said = next((d.message for d in checked.diagnostics if d.severity == "error"), "the graph is wrong")
    return f"with {', '.join(f'{k}={v}' for k, v in mine.items())}: {said}" if mine else said


def _notes(graph: Graph | None) -> list[str]:
    notes = []
    for node in graph.nodes.values() if graph is not None else ():
        group = getattr(node.settings, "batch_utterances", 1)
        if isinstance(group, int) and group > 1:
            notes.append(
                f"{node.name} translates {group} utterances at a time, so a text waits for the last one of its group; "
                f"measure latencies with --set {node.name}.batch_utterances=1."
            )
    return notes
