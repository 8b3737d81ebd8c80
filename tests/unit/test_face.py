"""The public face of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tolmach

NAMES = """
    AppInput AppOutput AudioFrame Bus Cancelled Caps Context Element ElementError ElementSpec Ended ErrorMessage
    Field Frame Graph GraphBuilder GraphError GraphProcessor GraphRunner Heard InfoMessage Live MediaError Message
    ModelError OrderedJobs Output Pad PositionMessage Registry RunResult RunningGraph Settings SourceElement
    StateMessage TolmachError TranslationFrame TranslationMessage UtteranceEnd UtteranceEndMessage UtterancePause
    UtteranceStart
    UtteranceStartMessage WarningMessage check_graph load_graph ns_to_samples open samples_to_ns
"""
"""What programs and plug-ins are written against. A name that goes, or means something else, breaks them."""


def test_the_names() -> None:
    assert sorted(tolmach.__all__) == NAMES.split()


def test_it_is_typed(root: Path) -> None:
    assert (root / "tolmach" / "py.typed").is_file()


def test_every_name_leads_somewhere_and_type_checkers_are_told_the_same(root: Path) -> None:
    for name in tolmach.__all__:
        assert getattr(tolmach, name) is not None
    tree = ast.parse((root / "tolmach" / "__init__.py").read_text(encoding="utf-8"))
    (told,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    declared = {(each.module, each.names[0].name) for each in told.body if isinstance(each, ast.ImportFrom)}
    assert declared == {(f"tolmach.pipelines.{home}", name) for name, home in tolmach._HOME_OF.items()}
    assert set(tolmach.__all__) <= set(dir(tolmach))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Elemnt'"):
        _ = tolmach.Elemnt
