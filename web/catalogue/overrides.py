"""The graph for one session: the library's text with what a client chose, as far as it may choose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.check import CheckResult, check_graph, load_graph
from tolmach.pipelines.language.diagnostics import Diagnostics, did_you_mean, format_text, show_value
from tolmach.web.catalogue.adjustable import live_settings
from tolmach.web.catalogue.entries import LANGUAGE_PARAMS, GraphEntry, is_locked

__all__ = ["session_graph", "shown_graph"]

MAX_VALUES = 200
MAX_TEXT = 200
"""Characters of a name or value."""
MAX_NUMBER = 2.0**53
"""JSON's numbers are exact up to here (RFC 8259, 6); NaN is not below it either."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
"""The tags of BCP-47 that speech models use; nothing that could be part of a path."""


def session_graph(
    entry: GraphEntry,
    params: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    trust_params: bool,
) -> Graph:
    """The graph of a session, checked.

    Blocks for some hundredths of a second: call it in a thread.

    Args:
        entry: The graph's entry in the library.
        params: Values of its params, from a client.
        settings: Values of its live settings by ``element.setting``, from a client.
        trust_params: Whether the client may give every param.

    Raises:
        GraphError: If something may not be given or is wrong, with diagnostics.
    """
    text = _vetted(entry, params, trust_params)
    overrides = dict(settings)
    if overrides:
        alone = check_graph(entry.file, text=text, params=params)
        _vet_settings(entry, alone, overrides)
    return load_graph(entry.file, text=text, params=params, overrides=overrides, require_params=True)


def shown_graph(entry: GraphEntry, params: Mapping[str, Any], *, trust_params: bool) -> Graph:
    """The graph as a client would get it with these params, for a drawing. Blocks; raises as :func:`session_graph`."""
    text = _vetted(entry, params, trust_params)
    return load_graph(entry.file, text=text, params=params) if params or entry.graph is None else entry.graph


def _vetted(entry: GraphEntry, params: Mapping[str, Any], trust_params: bool) -> str:
    """The text of an entry, if there is one and a client may give these params."""
    if entry.text is None:
        raise GraphError(entry.diagnostics_text.rstrip(), entry.diagnostics)
    problems = Diagnostics()
    _vet_values("param", params, problems)
    declared = {param.name: param for param in entry.params}
    for name, value in params.items():
        param = declared.get(name)
        if param is None or value is None:
            continue  # the check says which params there are; null is the default
        _vet_text(name, value, problems)
        if is_locked(param, trust_params):
            if value != entry.default_of(param):
                hint = "the server allows it with --trust-params"
                problems.add("bad-value", None, f"param {name!r} cannot be given by a client", hint=hint)
        elif name in LANGUAGE_PARAMS and not param.choices and not _LANGUAGE.fullmatch(str(value)):
            problems.add("bad-value", None, f"{show_value(value)} is not a language tag such as en or pt-BR")
    _raise(problems)
    return entry.text


def _vet_settings(entry: GraphEntry, alone: CheckResult, settings: Mapping[str, Any]) -> None:
    problems = Diagnostics()
    _vet_values("setting", settings, problems)
    # Another language may need another speaker: the params alone are then no sound graph, the defaults still are.
    graph = alone.graph or entry.graph
    known = [setting.target for setting in live_settings(graph)] if graph else []
    for target, value in settings.items():
        _vet_text(target, value, problems)
        if target not in known:
            close = did_you_mean(target, known)
            hint = f"did you mean {close!r}?" if close else f"there is {', '.join(known)}" if known else None
            problems.add("unknown-field", None, f"{target!r} cannot be set by a client", hint=hint)
    _raise(problems)


def _vet_values(what: str, values: Mapping[str, Any], problems: Diagnostics) -> None:
    if len(values) > MAX_VALUES:
        problems.add("bad-value", None, f"more than {MAX_VALUES} values were given")
    for name, value in list(values.items())[:MAX_VALUES]:
        if len(name) > MAX_TEXT:
            problems.add("bad-value", None, f"the name of a {what} has more than {MAX_TEXT} characters")
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            problems.add("bad-value", None, f"the value of {name!r} has more than {MAX_TEXT} characters")
        elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            problems.add("bad-value", None, f"the value of {name!r} is too large")
        elif not isinstance(value, str | int | float | None):
            problems.add("bad-value", None, f"the value of {name!r} must be one value, got {show_value(value)}")


def _vet_text(name: str, value: Any, problems: Diagnostics) -> None:
    """A text must be one that UTF-8 can write: JSON may hold lone surrogates."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        problems.add("bad-value", None, f"the value of {show_value(name)} holds half a character")


def _raise(problems: Diagnostics) -> None:
    if problems.has_errors:
        raise GraphError(format_text(problems.sorted(), {}).rstrip(), problems.sorted())
