"""``tolmach bench endpoints``: the reference of a recording, what counts as a false cut, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tolmach.pipelines.cli.main import main
from tolmach.processors.vad.bench.recordings import (
    Recording,
    Turn,
    hesitant,
    read_recordings,
    sentences_of,
    speech_spans,
)
from tolmach.processors.vad.bench.sweep import Listener, judge
from tolmach.processors.vad.silero import WINDOW
from tolmach.processors.vad.spec import RATE_HZ

MS = RATE_HZ // 1000
WINDOW_MS = WINDOW // MS  # 32


def words(*parts: tuple[int, float]) -> np.ndarray:
    """(ms, level) → noise of these levels."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(0, level, ms * MS) for ms, level in parts]).astype(np.float32)


@pytest.mark.parametrize(
    ("transcript", "sentences", "whole"),
    [
        (None, 1, True),
        ("neural networks are good", 1, True),
        ("One. Two! Three?", 3, True),
        ("One. And then, by a similar process", 2, False),
        ("produced the block books, which were printed,", 1, False),
        ("«Где вокзал?»", 1, True),
        ("It costs 3.50 in all.", 1, True),
    ],
)
def test_a_transcript_says_how_many_sentences_and_whether_the_last_one_ends(transcript, sentences, whole):
    assert sentences_of(transcript) == (sentences, whole)


def test_speech_is_found_by_energy_and_clicks_and_closures_are_not():
    quiet = 1e-4
    samples = words(
        (500, quiet), (600, 0.1), (60, quiet), (400, 0.1), (300, quiet), (500, 0.1), (400, quiet), (30, 0.1)
    )
    spans = [(start * 10, stop * 10) for start, stop in speech_spans(samples).spans]
    assert np.allclose(spans, [(500, 1560), (1860, 2360)], atol=20)
    assert speech_spans(np.zeros(0, np.float32)).spans == ()


def test_who_is_made_hesitant_says_the_same_with_longer_pauses():
    plain = Recording("a", "en", words((300, 1e-4), (900, 0.1), (40, 1e-3), (900, 0.1), (50, 1e-3), (900, 0.1)))
    slow = hesitant(plain, 1)
    gained_ms = (len(slow.samples) - len(plain.samples)) / MS
    pauses = [
        (b[0] - a[1]) * 10
        for a, b in zip(speech_spans(slow.samples).spans, speech_spans(slow.samples).spans[1:], strict=False)
    ]
    assert min(pauses) >= 300
    assert max(pauses) <= 1000
    assert abs(sum(pauses) - gained_ms) < 200
    assert np.array_equal(hesitant(plain, 1).samples, slow.samples)
    assert not np.array_equal(hesitant(plain, 2).samples, slow.samples)


def turn(*parts: tuple[int, float], pauses: tuple[tuple[int, int], ...], end: int, whole: bool = True) -> Turn:
    """(windows, decision); pauses and end in windows."""
    decisions = tuple(decision for count, decision in parts for _ in range(count))
    samples = np.zeros(len(decisions) * WINDOW, np.float32)
    scaled = tuple((a * WINDOW, b * WINDOW) for a, b in pauses)
    return Turn("turn", samples, scaled, end * WINDOW, whole, 1, decisions)


TALK = turn((30, 1.0), (20, 0.0), (30, 1.0), (120, 0.0), pauses=((30, 50),), end=80)


def test_a_cut_before_the_speaker_goes_on_is_false_and_the_wait_at_the_end_is_latency():
    short = judge([TALK], {"hangover_ms": 300}, Listener())
    assert (short.cuts, short.pauses, short.fragments) == (1, 1, 2)
    assert short.latency_ms == (10 * WINDOW_MS,)
    long = judge([TALK], {"hangover_ms": 700}, Listener())
    assert (long.cuts, long.pauses, long.fragments) == (0, 1, 1)
    assert long.latency_ms == (22 * WINDOW_MS,)


def test_the_end_of_a_piece_of_a_text_is_no_end():
    piece = turn((30, 1.0), (20, 0.0), (30, 1.0), (120, 0.0), pauses=((30, 50),), end=80, whole=False)
    score = judge([piece], {"hangover_ms": 300}, Listener())
    assert (score.cuts, score.latency_ms) == (1, ())
    assert score.mean_latency_ms == float("inf")


def test_a_manifest_leaves_noise_out_and_says_where_it_is_wrong(tmp_path: Path, root: Path):
    for name in ("a.flac", "b.flac", "noise.flac"):
        shutil.copy(root / "config/demo/clips/en-03.flac", tmp_path / name)
    lines = [
        {"file": "a.flac", "language": "en", "transcript": "Thank you."},
        {"file": "noise.flac", "kind": "noise"},
        {"file": "b.flac", "source_lang": "ru", "ru": "Спасибо."},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = read_recordings(tmp_path)
    assert [(r.language, r.transcript) for r in found] == [("en", "Thank you."), ("ru", "Спасибо.")]
    assert found[0].samples.dtype == np.float32


def test_the_command_tells_all_ways_and_writes_them_down(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copy(root / "config/demo/clips/en-08.flac", tmp_path / "a.flac")
    args = ["--hesitations", "0", "--set", "vad.turn=smart_turn", "--json", str(tmp_path / "out.json")]
    assert main(["bench", "endpoints", str(tmp_path), *args]) == 0
    text = capsys.readouterr().out
    for way in ("fixed hangover", "smart_turn", "adaptive", "all together", "turn: smart_turn"):
        assert f"  {way}" in text
    (report,) = json.loads((tmp_path / "out.json").read_text())
    fixed = report["ways"]["fixed hangover"]["scores"]
    # A fixed hangover is waited for whole, to the window that completes it.
    assert all(0 <= score["mean_latency_ms"] - score["settings"]["hangover_ms"] < WINDOW_MS for score in fixed)
    assert report["pinned"]["turn: smart_turn"]["mean_latency_ms"] < 300


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give RECORDINGS"),
        (["NOWHERE"], "no such file or folder"),
        (["EMPTY"], "no recordings in it"),
        (["TEXT"], "cannot be read"),
        (["MANIFEST"], "manifest.jsonl:1: not an object such as"),
        (["CLIP", "--set", "turn=smart_turn"], "--set turn: give vad.NAME=VALUE"),
        (["CLIP", "--set", "vad.turn=clever"], "silero_vad: turn: Input should be 'off' or 'smart_turn'"),
        (["CLIP", "--set", "tts.x=1"], "--set tts.x: give vad.NAME=VALUE"),
        (["CLIP", "--translator", "babelfish"], "no element type 'babelfish'"),
        (["CLIP", "--translator", "canary_ast", "--set", "ast.beam=x"], "canary_ast: "),
    ],
)
def test_what_is_wrong_is_said_and_exits_2(args, words, tmp_path: Path, root: Path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed/manifest.jsonl").write_text("[]\n")
    places = {
        "NOWHERE": tmp_path / "nowhere",
        "EMPTY": tmp_path / "empty",
        "TEXT": tmp_path / "text.wav",
        "MANIFEST": tmp_path / "listed",
        "CLIP": root / "config/demo/clips/en-03.flac",
    }
    assert main(["bench", "endpoints", *(str(places.get(arg, arg)) for arg in args)]) == 2
    assert words in capsys.readouterr().err
