"""The framework loses nothing: every text equals what bare NeMo says of the same segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tolmach.pipelines.bus import TranslationMessage
from tolmach.pipelines.frames import TranslationFrame, ns_to_samples
from tolmach.pipelines.language.check import load_graph
from tolmach.pipelines.runtime.runner import GraphRunner

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
MODEL = ROOT / "processors" / "phrasebook" / "phrasebook.nemo"


@pytest.mark.models
@pytest.mark.parametrize(("source", "target"), [("en", "ru"), ("ru", "en")])
async def test_texts_of_the_phrasebook_graph_equal_bare_transcribe(source: str, target: str, tmp_path: Path) -> None:
    import soundfile
    from nemo.collections.asr.models import ASRModel
    from nemo.utils import logging

    recording = CONFIG / "demo" / f"phrasebook-{source}.flac"
    graph = load_graph(
        CONFIG / "phrasebook.yaml",
        params={"input": str(recording), "output": str(tmp_path), "source_lang": source, "target_lang": target},
        overrides={"ast.min_logprob": -100.0},  # the gate is the framework's own; here every text counts
        require_params=True,
    )
    heard: list[TranslationFrame] = []
    runner = GraphRunner(graph)
    runner.bus.subscribe(lambda m: heard.append(m.frame) if isinstance(m, TranslationMessage) else None)
    result = await runner.run()
    assert result.ok
    assert len(heard) >= 8

    audio, rate = soundfile.read(recording, dtype="float32")
    assert rate == 16000, "else the segments would have to be cut behind the resampler"
    segments = [
        np.ascontiguousarray(audio[ns_to_samples(f.pts_ns, rate) : ns_to_samples(f.end_ns, rate)]) for f in heard
    ]
    logging.setLevel(logging.ERROR)
    model = ASRModel.restore_from(str(MODEL), map_location="cpu").eval()
    bare = model.transcribe(segments, batch_size=len(segments), source_lang=source, target_lang=target, verbose=False)
    assert [f.text for f in heard] == [h.text.strip() for h in bare]
