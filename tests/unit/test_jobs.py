"""Which recordings a command line names, and where their results go."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tolmach.pipelines.cli.batch.jobs import Job, fingerprint, job_params, plan_jobs
from tolmach.pipelines.cli.batch.records import Record, save_record
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.language.check import check_graph
from tolmach.pipelines.language.variables import ParamDef


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_file_goes_to_a_folder_of_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "talk.wav")
    (job,) = plan_jobs([tmp_path / "talk.wav"], tmp_path / "out")
    assert job == Job("talk", tmp_path / "talk.wav", tmp_path / "out" / "talk")


def test_a_folder_is_searched_with_its_subfolders_in_a_stable_order(tmp_path: Path) -> None:
    touch(tmp_path / "in/b.mp3", tmp_path / "in/a.wav", tmp_path / "in/deep/c.OGG", tmp_path / "in/notes.txt")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
    assert [j.name for j in jobs] == ["a", "b", "deep/c"]


def test_recordings_of_one_name_get_folders_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.wav", tmp_path / "in/a.mp3", tmp_path / "other/a.wav")
    jobs = plan_jobs([tmp_path / "in", tmp_path / "other" / "a.wav"], tmp_path / "out")
    assert len({j.output for j in jobs}) == 3


def test_the_same_file_named_twice_runs_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    assert len(plan_jobs([tmp_path / "a.wav", tmp_path / "a.wav"], tmp_path / "out")) == 1


def test_results_inside_the_input_folder_are_not_input(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "out/a/dub.wav")
    assert [j.name for j in plan_jobs([tmp_path], tmp_path / "out")] == ["a"]


def test_missing_input_and_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file or folder"):
        plan_jobs([tmp_path / "nothing.wav"], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GraphError, match="no recordings in folder"):
        plan_jobs([tmp_path / "empty"], tmp_path / "out")


def test_params_of_a_job() -> None:
    job = Job("a", Path("in/a.wav"), Path("out/a"))
    assert job_params(job, {"lang": "ru"}, declared("input: , output: out, lang: en")) == {
        "input": "in/a.wav",
        "output": "out/a",
        "lang": "ru",
    }
    assert "output" not in job_params(job, {}, declared("input: "))


def test_params_of_a_job_are_found_by_their_roles() -> None:
    job = Job("a", Path("in/a.wav"), Path("out/a"))
    params = declared("clip: {role: input}, made: {default: out, role: output}, output: {default: 1, role: none}")
    assert job_params(job, {}, params) == {"clip": "in/a.wav", "made": "out/a"}
    assert job_params(job, {"made": "there"}, params) == {"clip": "in/a.wav", "made": "there"}


def declared(params: str) -> Sequence[ParamDef]:
    return check_graph("g.yaml", text=f"version: 1\nparams: {{{params}}}\nelements: {{}}\nlinks: []\n").params


def test_fingerprint_changes_with_anything_that_changes_the_result(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    touch(source)
    base = fingerprint("graph", {"a": 1}, {}, source)
    assert fingerprint("graph", {"a": 1}, {}, source) == base
    assert fingerprint("graph2", {"a": 1}, {}, source) != base
    assert fingerprint("graph", {"a": 2}, {}, source) != base
    assert fingerprint("graph", {"a": 1}, {"vad.hangover_ms": 300}, source) != base
    os.utime(source, (1, 1))
    assert fingerprint("graph", {"a": 1}, {}, source) != base


# What folders hold besides recordings -------------------------------------------------------------------------------


def names(*inputs: Path, output: Path) -> list[str]:
    return [job.name for job in plan_jobs(inputs, output) if not job.problem]


def problems(*inputs: Path | str, output: Path) -> list[str]:
    return [job.problem for job in plan_jobs(inputs, output) if job.problem]


def test_hidden_files_and_folders_are_no_recordings(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / n for n in ("a.wav", "._a.wav", ".b.wav", ".Trash/c.wav", "__MACOSX/._d.wav")))
    assert names(tmp_path / "in", output=tmp_path / "out") == ["a"]
    # Named directly it is what somebody wants.
    assert names(tmp_path / "in/.b.wav", output=tmp_path / "out") == [".b"]


def test_links_to_folders_are_followed_once_and_loops_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path / "in/a.wav", tmp_path / "in/deep/b.wav", tmp_path / "elsewhere/c.wav")
    (tmp_path / "in/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/deep")
    (tmp_path / "in/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/home").symlink_to(tmp_path / "in")
    with caplog.at_level(logging.WARNING, logger="tolmach.pipelines"):  # whatever a command of an earlier test has set
        assert names(tmp_path / "in", output=tmp_path / "out") == ["a", "deep/b", "more/c"]
    said = [record.getMessage() for record in caplog.records]
    assert sum("is not searched twice" in line for line in said) == 3
    assert problems(tmp_path / "in", output=tmp_path / "out") == []


def test_a_recording_that_several_paths_lead_to_runs_once(tmp_path: Path) -> None:
    touch(tmp_path / "in/b.wav", tmp_path / "in/deep/c.wav")
    (tmp_path / "in/a.wav").symlink_to(tmp_path / "in/b.wav")
    given = (tmp_path / "in", tmp_path / "in/deep", tmp_path / "in/b.wav")
    assert names(*given, output=tmp_path / "out") == ["b", "deep/c"]


def test_one_bad_path_or_link_costs_only_itself(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.wav")
    (tmp_path / "in/gone.wav").symlink_to(tmp_path / "nothing.wav")
    (tmp_path / "in/self.wav").symlink_to(tmp_path / "in/self.wav")
    (tmp_path / "in/self").symlink_to(tmp_path / "in/self")
    given = [str(tmp_path / "in"), str(tmp_path / "no.wav"), "", str(tmp_path / "in/a.wav/b.wav")]
    assert names(*map(Path, given[:2]), output=tmp_path / "out") == ["a"]
    assert problems(*given, output=tmp_path / "out") == [
        f"{tmp_path / 'in/gone.wav'}: is a link to nothing",
        f"{tmp_path / 'in/self.wav'}: Too many levels of symbolic links",
        f"no such file or folder: {tmp_path / 'no.wav'}",
        'an empty INPUT (""); the current folder is called .',
        f"{tmp_path / 'in/a.wav/b.wav'}: Not a directory",
    ]


def test_an_empty_input_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraphError, match="empty INPUT"):
        plan_jobs([""], tmp_path / "out")
    assert names(Path(), output=tmp_path / "out") == ["a"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in/a.wav", tmp_path / "in/locked/b.wav", tmp_path / "closed/c.wav")
    listed = os.scandir

    def scandir(path: Path) -> object:
        # Permission bits do not bind root, as whom tests may run.
        if Path(path).name in ("locked", "closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert names(tmp_path / "in", output=tmp_path / "out") == ["a"]
    said = f"{tmp_path / 'in/locked'}: the folder cannot be read: Permission denied"
    assert problems(tmp_path / "in", output=tmp_path / "out") == [said]
    with pytest.raises(GraphError, match="closed: the folder cannot be read: Permission denied"):
        plan_jobs([tmp_path / "closed"], tmp_path / "out")


# Names that stay -------------------------------------------------------------------------------------------------


def finish(*jobs: Job, version: int = 2) -> None:
    for job in jobs:
        source = os.path.realpath(job.input) if job.input and version > 1 else ""
        record = Record(job.name, str(job.input), str(job.output), "done", "f", source=source)
        save_record(job.output, record)


def folders(*inputs: Path, output: Path) -> dict[Path, str]:
    return {job.input: job.name for job in plan_jobs(inputs, output) if job.input}


@pytest.mark.parametrize("version", [1, 2], ids=["record of an earlier version", "record"])
def test_a_recording_put_beside_a_finished_one_does_not_rename_it(tmp_path: Path, version: int) -> None:
    webm, mp4 = tmp_path / "clip.webm", tmp_path / "clip.mp4"
    touch(webm)
    finish(*plan_jobs([tmp_path], tmp_path / "out"), version=version)
    touch(mp4)
    assert folders(tmp_path, output=tmp_path / "out") == {webm: "clip", mp4: "clip.mp4"}
    # Also when it is given alone: the folder is the other one's.
    assert folders(mp4, output=tmp_path / "out") == {mp4: "clip.mp4"}


def test_names_do_not_depend_on_the_order(tmp_path: Path) -> None:
    given = [tmp_path / n for n in ("a/x.flac", "b/x.flac", "x.mp3", "x.wav", "x.wav.ogg")]
    touch(*given)
    forth, back = folders(*given, output=tmp_path / "out"), folders(*given[::-1], output=tmp_path / "out")
    assert forth == back
    assert len(set(forth.values())) == len(given)
    finish(*plan_jobs(given[:1], tmp_path / "out"))
    assert folders(*given[:2], output=tmp_path / "out") == {given[0]: "x", given[1]: forth[given[1]]}


def test_numbered_names_of_earlier_versions_are_found(tmp_path: Path) -> None:
    one, two = tmp_path / "a/x.flac", tmp_path / "b/x.flac"
    touch(one, two)
    finish(Job("x.flac", two, tmp_path / "out/x.flac"), Job("x.flac-2", one, tmp_path / "out/x.flac-2"), version=1)
    assert folders(one, two, output=tmp_path / "out") == {two: "x.flac", one: "x.flac-2"}
    assert folders(two, one, output=tmp_path / "out") == {two: "x.flac", one: "x.flac-2"}


def test_a_recording_that_was_moved_finds_its_place(tmp_path: Path) -> None:
    touch(tmp_path / "old/a.wav")
    finish(*plan_jobs([tmp_path / "old"], tmp_path / "out"))
    (tmp_path / "old").rename(tmp_path / "new")
    assert folders(tmp_path / "new", output=tmp_path / "out") == {tmp_path / "new/a.wav": "a"}


def test_no_recording_takes_the_place_of_what_the_batch_writes(tmp_path: Path) -> None:
    given = [tmp_path / "in" / n for n in ("summary.json.flac", "RUN.JSON.wav", "summary.json/run.json.ogg")]
    touch(*given)
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
    taken = {part.casefold() for job in jobs for part in job.output.relative_to(tmp_path / "out").parts}
    assert len(jobs) == 3
    assert taken.isdisjoint({"run.json", "summary.json"})
