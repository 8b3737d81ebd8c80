"""What a wheel puts into site-packages: one name, and it works beside folders that are called like its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="no build backend here")

FOLDERS = ("pipelines", "processors", "transports", "web", "config")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "wheel", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-w", str(folder), str(root)], check=True)
    (built,) = folder.glob("tolmach-*.whl")
    return built


def test_there_is_one_name_and_no_training_recipe(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"tolmach"}
    assert {"tolmach/__init__.py", "tolmach/py.typed", "tolmach/web/static/index.html"} <= set(names)
    assert {f"tolmach/{folder}" for folder in FOLDERS} <= {"/".join(name.split("/")[:2]) for name in names}
    assert [name for name in names if "recipe" in name] == []
    templates = Path("pipelines/cli/templates/element")
    shipped = {
        f"tolmach/{path.relative_to(root)}" for path in (root / templates).rglob("*.*") if "cache" not in str(path)
    }
    assert len(shipped) > 20
    assert shipped <= set(names)


def test_it_works_in_a_project_with_folders_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for folder in FOLDERS:
        (project / folder).mkdir(parents=True)
        (project / folder / "__init__.py").write_text("mine = True\n")
    program = (
        "import sys, pipelines, web, tolmach, tolmach.web.app\n"
        "assert pipelines.mine and web.mine\n"
        f"assert tolmach.__file__.startswith({str(site)!r}), tolmach.__file__\n"
        "assert tolmach.ElementSpec is tolmach.pipelines.element.ElementSpec\n"
        "from tolmach.pipelines.cli.main import main\n"
        "sys.exit(main(['check', 'echo', 'phrasebook']))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(project), str(site)))}
    done = subprocess.run([sys.executable, "-c", program], cwd=project, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("room", ["pipelines", "processors", "transports", "web"])
def test_a_room_of_the_checkout_is_not_imported_under_its_bare_name(room: str, root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=root, capture_output=True, text=True)
    assert f"is imported as tolmach.{room}" in done.stderr


def test_a_checkout_without_links_works(root: Path, tmp_path: Path) -> None:
    """Windows may check links out as text files."""
    (tmp_path / "tolmach").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (tmp_path / "tolmach" / name).write_bytes((root / "tolmach" / name).read_bytes())
    for folder in FOLDERS:
        (tmp_path / "tolmach" / folder).write_text(f"../{folder}")
        (tmp_path / folder).symlink_to(root / folder)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "tolmach", "check", "echo"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
