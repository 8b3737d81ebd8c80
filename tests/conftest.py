"""Shared fixtures: real recordings where they lie beside the checkout, and models shipped with the project."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Examples are not timed: a busy machine must not fail a test.
settings.register_profile("tolmach", deadline=None)
settings.load_profile("tolmach")

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "speech"


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
