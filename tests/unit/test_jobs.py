"""Which recordings a command line names, and where their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.batch.jobs import Job, fingerprint, job_params, plan_jobs
from pipelines.errors import GraphError


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
    assert job_params(job, {"lang": "ru"}, {"input", "output", "lang"}) == {
        "input": "in/a.wav",
        "output": "out/a",
        "lang": "ru",
    }
    assert "output" not in job_params(job, {}, {"input"})


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
