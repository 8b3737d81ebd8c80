"""`tolmach new element`: what it writes is installed, inspected, linted, typed, tests itself, and runs in a graph."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tolmach.pipelines.cli.commands.new import KINDS, MAX_NAME
from tolmach.pipelines.cli.main import main

# The shortest and the longest name: what is written must not depend on how long lines become.
NAMES: Mapping[str, str] = {
    "transform": "x",
    "denoiser": "hush",
    "text-filter": "mask_2_words",
    "source": "a" * 20 + "_" + "b" * (MAX_NAME - 21),
    "translator": "translator_of_my_company_with_long_name1",
}
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A package of each kind."""
    work = tmp_path_factory.mktemp("new")
    folders = {kind: work / kind for kind in KINDS}
    for kind, folder in folders.items():
        assert main(["new", "element", NAMES[kind], "--kind", kind, "-o", str(folder)]) == 0
    return folders


@pytest.fixture(scope="module")
def run(written: Mapping[str, Path], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs Python where all of them are installed."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q", "--no-deps"]
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    subprocess.run([*pip, *isolation, "--target", str(site), *map(str, written.values())], check=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(root))), "COLUMNS": "100"}

    def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    return python


def test_there_is_a_name_for_each_kind() -> None:
    assert set(NAMES) == set(KINDS)
    assert max(map(len, NAMES.values())) == MAX_NAME


def test_they_pass_their_own_tests(written: Mapping[str, Path], run: Runner) -> None:
    # One process for all, which has the settings of the first: they are the same.
    settings = written["transform"] / "pyproject.toml"
    options = ["-v", "-p", "no:cacheprovider", "-c", str(settings)]
    done = run("-m", "pytest", *options, *map(str, written.values()), cwd=settings.parent)
    assert done.returncode == 0, done.stdout
    for name in NAMES.values():
        assert f"test_{name}.py::test_it_keeps_the_contract PASSED" in done.stdout
    assert "warning" not in done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="no build backend here")
def test_an_editable_install_needs_the_build_backend_alone(
    written: Mapping[str, Path], run: Runner, tmp_path: Path
) -> None:
    # What `pip install -e` asks for; without `dev-mode-dirs` it would need one package more.
    script = "import hatchling.build, sys; hatchling.build.build_editable(sys.argv[1])"
    done = run("-c", script, str(tmp_path), cwd=written["denoiser"])
    assert (done.returncode, done.stderr) == (0, "")
    (wheel,) = tmp_path.glob("tolmach_hush-0.1.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".pth"))
    assert Path(path.strip()).samefile(written["denoiser"])


def test_they_are_inspected(run: Runner, tmp_path: Path) -> None:
    listed = run("-m", "tolmach", "inspect", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    for name in NAMES.values():
        assert f"tolmach-{name.replace('_', '-')} 0.1.0:\n  {name} " in listed.stdout
    described = run("-m", "tolmach", "inspect", "hush", cwd=tmp_path).stdout
    assert described.startswith("hush: Turn down what is quieter than speech.\n")


def test_their_graphs_check(written: Mapping[str, Path], run: Runner, tmp_path: Path) -> None:
    graphs = [str(folder / "graph.yaml") for folder in written.values()]
    done = run("-m", "tolmach", "check", *graphs, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": ok (") == len(KINDS)


def test_the_linter_finds_nothing(written: Mapping[str, Path], run: Runner) -> None:
    for folder in written.values():
        for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
            done = run("-m", "ruff", *command, cwd=folder)
            assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_types_are_right(written: Mapping[str, Path], root: Path, tmp_path: Path) -> None:
    # One run for all: each has the same settings, and most of the time goes into reading Tolmach and NumPy.
    settings = [
        tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"] for folder in written.values()
    ]
    assert all(each["strict"] for each in settings)
    env = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, (*written.values(), root)))}
    files = [
        str(folder / path) for folder, each in zip(written.values(), settings, strict=True) for path in each["files"]
    ]
    # Silent: of Tolmach itself, which is found like their own code here and installed elsewhere.
    options = ["--strict", "--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache"), "--config-file", ""]
    command = [sys.executable, "-m", "mypy", *options, *files]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Success: no issues found in 20 source files"), done.stdout


def test_what_exists_stays_as_it_is(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tolmach-my-gain").mkdir()
    (tmp_path / "tolmach-my-gain" / "pyproject.toml").write_text("mine")
    assert main(["new", "element", "my_gain"]) == 2
    assert capsys.readouterr().err == (
        "tolmach: error: tolmach-my-gain exists already, and nothing is overwritten; name another with --output\n"
    )
    assert [p.read_text() for p in tmp_path.rglob("*") if p.is_file()] == ["mine"]
    (tmp_path / "link").symlink_to("nowhere")
    assert main(["new", "element", "my_gain", "-o", "link"]) == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-gain", "did you mean 'my_gain'?"),
        ("MyGain", "did you mean 'my_gain'?"),
        ("2x", "did you mean 'x'?"),
        ("", "use small letters, digits and single '_', a letter first"),
        ("../gain", "did you mean 'gain'?"),
        ("gain__x", "did you mean 'gain_x'?"),
        ("усилитель", "use small letters"),
        ("a" * 41, "the name has 41 letters; an element's type has at most 40"),
        ("tee", "there is an element type 'tee', of tolmach; choose another name"),
        ("none", "would be the class None, which is something else already"),
        ("exception", "would be the class Exception"),
        ("audio_frame", "would be the class AudioFrame"),
    ],
)
def test_a_bad_name_is_refused_in_words(name: str, said: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "element", name]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "\n" not in error[:-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["new", "element", "my_gain", "-o", str(tmp_path / "file" / "below")]) == 2
    assert "cannot make" in capsys.readouterr().err
