"""What a batch remembers, and what its progress says."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from tolmach.pipelines.bus import TranslationMessage, UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.cli.batch.console import Lines, Pace, print_summary, print_utterances
from tolmach.pipelines.cli.batch.jobs import Job
from tolmach.pipelines.cli.batch.records import (
    Notes,
    Record,
    RecordedUtterance,
    clock,
    describe,
    load_record,
    save_record,
    save_summary,
)
from tolmach.pipelines.frames import NS_PER_S as S
from tolmach.pipelines.frames import TranslationFrame
from tolmach.transports.files.atomic import AtomicFile


def record(**changes: object) -> Record:
    values: dict[str, object] = {
        "name": "talk", "input": "talk.wav", "output": "out/talk", "status": "done", "fingerprint": "f",
        "media_s": 61.5, "wall_s": 3.0, "rtfx": 20.5, "segments": 2, "outputs": ("dub.wav",),
        "utterances": (
            RecordedUtterance(1, 1200, 2900, "en", "ru", "Доброе утро."),
            RecordedUtterance(2, 61_000, 61_400, "en", "ru", "", "not in the phrasebook", retries=("empty",)),
        ),
    }  # fmt: skip
    return Record(**(values | changes))  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    save_record(tmp_path, record())
    assert load_record(tmp_path) == record()
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v": 99}', '{"v": 1, "utterances": [{}]}', '{"v": 1, "x": 2}'])
def test_a_record_nobody_can_read_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert load_record(tmp_path) is None


def test_the_summary_holds_every_record_and_the_totals(tmp_path: Path) -> None:
    path = save_summary(tmp_path, "phrasebook", [record(), record(status="failed", errors=("broken",))])
    data = json.loads(path.read_text())
    assert data["counts"] == {"done": 1, "failed": 1}
    assert (data["rejected"], data["retries"]) == ({"not in the phrasebook": 2}, {"empty": 2})
    assert data["media_s"] == 123.0
    assert data["runs"][0]["utterances"][0]["text"] == "Доброе утро."


def test_a_sentence_in_two_languages_is_one_utterance(tmp_path: Path) -> None:
    two = (*record().utterances, RecordedUtterance(1, 1200, 2900, "en", "de", "Guten Morgen."))
    assert record(utterances=two).spoken == 2
    # Another speaker's first utterance is another one.
    assert record(utterances=(*two, RecordedUtterance(1, 9000, 9500, "en", "ru", "Да."))).spoken == 3
    data = json.loads(save_summary(tmp_path, "g", [record(utterances=two)]).read_text())
    assert (data["utterances"], data["texts"]) == (2, 2)


def noted(*frames: TranslationFrame) -> list[RecordedUtterance]:
    notes = Notes()
    for frame in frames:
        notes.take(TranslationMessage(frame, element="ast"))
    return notes.utterances


def test_the_parts_of_an_utterance_are_one_line() -> None:
    first = TranslationFrame(
        1, 0, 2 * S, "en", "ru", "Мы приехали", -0.1, more=True, source_text="We came", language_confidence=0.98
    )
    other = TranslationFrame(1, 0, 4 * S, "en", "de", "Wir kamen.")
    grey = TranslationFrame(1, 2 * S, 3 * S, "en", "ru", "по", final=False, part=1)
    second = TranslationFrame(1, 2 * S, 4 * S, "en", "ru", "поздно.", -0.3, part=1, more=True, source_text="late.")
    end = TranslationFrame(1, 4 * S, 5 * S, "en", "ru", "", part=2)
    again = replace(end, utterance=2, part=0, text="Да.")
    joined, german, last = noted(first, grey, other, second, end, again)
    assert (joined.start_ms, joined.end_ms, joined.text) == (0, 5000, "Мы приехали поздно.")
    assert (joined.source_text, joined.rejected, joined.language_confidence) == ("We came late.", None, 0.98)
    assert joined.logprob == pytest.approx((11 * -0.1 + 7 * -0.3) / 18, abs=1e-4)
    assert (german.text, last.text) == ("Wir kamen.", "Да.")
    out = io.StringIO()
    print_utterances(Console(file=out, width=120), record(utterances=(joined,)))
    assert "Мы приехали поздно." in out.getvalue()
    assert "We came late." in out.getvalue()


def test_an_utterance_is_rejected_when_none_of_its_parts_has_a_text() -> None:
    fault = TranslationFrame(1, 0, S, "en", "ru", "", rejected="repetition", more=True)
    text = TranslationFrame(1, S, 2 * S, "en", "ru", "Да.", part=1)
    assert [(u.text, u.rejected) for u in noted(fault, text)] == [("Да.", None)]
    assert [(u.text, u.rejected) for u in noted(fault, replace(text, text=""))] == [("", "repetition")]


def test_what_a_voice_left_out_is_counted_and_marked() -> None:
    notes = Notes()
    for number in (1, 2, 3):
        notes.take(TranslationMessage(TranslationFrame(number, number * S, (number + 1) * S, "en", "ru", "Да.")))
    notes.take(VoicePaceMessage(1, 0, S, 1.0))
    notes.take(UnspokenMessage(2, 0, 11 * S))
    notes.take(VoicePaceMessage(3, 0, 9 * S, 1.3))
    done = notes.record(record(), "done", 1.0, ())
    assert (done.voiced, done.unspoken, done.tempo) == (2, 1, 1.15)
    assert [u.unspoken for u in done.utterances] == [False, True, False]
    assert "1 not spoken" in describe(done)


def test_fields_of_a_later_version_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    save_record(tmp_path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert load_record(tmp_path) == record()


def test_tables_show_text_rejections_and_errors() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120)
    print_utterances(console, record())
    print_summary(console, [record(), record(name="bad", status="failed", errors=("bad.wav: not audio",))])
    text = out.getvalue()
    assert "Доброе утро." in text
    assert "not in the phrasebook" in text
    assert "00:01.2 – 00:02.9" in text
    assert "bad.wav: not audio" in text
    assert "2 (1 rejected)" in text


def test_names_with_markup_are_shown_as_they_are() -> None:
    out = io.StringIO()
    print_summary(Console(file=out, width=120), [record(name="[red]x[/red]")])
    assert "[red]x[/red]" in out.getvalue()


def test_plain_lines_say_start_and_end() -> None:
    out = io.StringIO()
    lines = Lines(2, out)
    job = Job("talk", Path("talk.wav"), Path("out/talk"))
    lines.started(job)
    lines.progress(job, 1_000_000_000, 10_000_000_000)
    lines.finished(job, record())
    first, last = out.getvalue().splitlines()
    assert first == "talk: started"
    assert last.startswith("[1/2] talk: done: 1:01, 2 utterances")


def test_pace_knows_what_is_left() -> None:
    pace = Pace()
    pace.update(0, None)
    assert pace.left_s is None
    assert pace.started is not None
    pace.started -= 2.0
    pace.update(4_000_000_000, 20_000_000_000)
    assert pace.rtfx == pytest.approx(2.0, rel=0.05)
    assert pace.left_s == pytest.approx(8.0, rel=0.05)
    assert clock(3723) == "1:02:03"


def test_every_field_is_documented() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs/BATCH.md").read_text(encoding="utf-8")
    for name in (*asdict(record()), *asdict(record().utterances[0])):
        assert f"`{name}`" in manual, name


def test_every_field_of_the_summary_is_documented(tmp_path: Path) -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs/BATCH.md").read_text(encoding="utf-8")
    for name in json.loads(save_summary(tmp_path, "g", [record()]).read_text()):
        assert f"`{name}`" in manual.partition("## `summary.json`")[2], name


def test_what_a_kill_leaves_of_a_record_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    at_rename = f"""
import sys
from pathlib import Path
from tolmach.pipelines.cli.batch import records
Path.replace = lambda *_: print("written", flush=True) or sys.stdin.read()
records.write_whole(Path({str(tmp_path)!r}) / "run.json", b"half")
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", at_rename], stdin=pipe, stdout=pipe) as writing:
        assert writing.stdout is not None
        assert writing.stdout.readline() == b"written\n"
        (half,) = tmp_path.iterdir()
        sweep(tmp_path)
        assert half.exists(), "a process that is alive still writes it"
        writing.kill()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def sweep(folder: Path) -> None:
    sink = AtomicFile(folder / "dub.wav", overwrite=True)
    sink.open()
    sink.discard()


def test_the_summary_says_why_texts_were_rejected_and_asked_for_again() -> None:
    said = io.StringIO()
    print_summary(Console(file=said, width=200), [record(), record(name="other")])
    assert "rejected: 2 × not in the phrasebook; asked again: 2 × empty" in said.getvalue()
    said = io.StringIO()
    print_summary(Console(file=said, width=200), [record(utterances=record().utterances[:1])])
    assert "rejected" not in said.getvalue()
