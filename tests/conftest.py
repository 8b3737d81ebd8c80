"""Shared fixtures: real recordings where they lie beside the checkout, and models shipped with the project."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.ray_cluster import ray_cluster

__all__ = ["ray_cluster"]

# Examples are not timed: a busy machine must not fail a test.
settings.register_profile("tolmach", deadline=None)
settings.load_profile("tolmach")

# What runs under nohup or in the background of a script is born deaf to these, and so would be every process it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "speech"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--realtime", action="store_true", help="also run tests that compare wall-clock times")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Slow files first: several workers take a file at a time, and shall not wait for the last one.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if config.getoption("--realtime"):
        return
    skip = pytest.mark.skip(reason="compares wall-clock times, which a busy machine upsets; run with --realtime")
    for item in items:
        if item.get_closest_marker("realtime"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_report_to_serializable(config: pytest.Config, report: object) -> Generator[None, Any, Any]:
    """What a worker of pytest-xdist reports; execnet carries no lone surrogates, which names of files may hold."""
    return without_surrogates((yield))


def without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(without_surrogates, value))
    return value


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """Real recordings with transcripts; not part of the project."""
    if not (SPEECH / "manifest.jsonl").is_file():
        pytest.skip("no real recordings beside the checkout (../shared/speech)")
    return SPEECH
