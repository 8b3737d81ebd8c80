"""A third party's element: built as a wheel, installed, inspected, used in a graph, checked with the public harness."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parent.parent / "data" / "example_plugin"

GRAPH = """\
version: 1
name: louder
elements:
  in: {type: test_src, duration_ms: 100}
  up: {type: gain, gain_db: 6}
  out: {type: fake_sink}
links:
  - in -> up -> out
"""

CHECK = """\
import asyncio
from tolmach.pipelines.testing.checks import check_element
from tolmach.pipelines.registry import Registry
for settings in ({}, {"gain_db": 20}):
    pushed = asyncio.run(check_element(Registry.default().get("gain"), settings))
    assert pushed["src"] > 0, pushed
print("kept")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the plug-in's wheel is installed."""
    work = tmp_path_factory.mktemp("plugin")
    source = work / "source"  # a copy: building leaves nothing in the checkout
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # With the build backend at hand (the dev extra) no network is needed.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    subprocess.run([*pip, "wheel", "-q", "--no-deps", *isolation, "-w", str(work), str(source)], check=True)
    (wheel,) = work.glob("*.whl")
    assert wheel.name == "tolmach_gain-1.2.3-py3-none-any.whl"
    target = work / "site"
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


@pytest.fixture
def run_python(installed: Path, root: Path, tmp_path: Path):
    """Runs Python outside the checkout with the plug-in on its path."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(root))), "COLUMNS": "100"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    return run


def test_inspect_knows_it_and_where_it_is_from(run_python):
    done = run_python("-m", "tolmach", "inspect", "gain")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gain: Make audio louder or quieter.\n")
    assert "  origin     tolmach-gain 1.2.3\n" in done.stdout
    assert "  gain_db: float; in dB; [-60, 40]; default 0.0\n      How much louder, dB.\n" in done.stdout
    listed = run_python("-m", "tolmach", "inspect").stdout
    assert "tolmach-gain 1.2.3:\n  gain " in listed


def test_a_graph_with_it_checks(run_python, tmp_path: Path):
    (tmp_path / "louder.yaml").write_text(GRAPH)
    done = run_python("-m", "tolmach", "check", "louder.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "louder.yaml: ok (3 elements, 2 links)\n", "")
    (tmp_path / "loud.yaml").write_text(GRAPH.replace("gain_db: 6", "gain_db: 60"))
    done = run_python("-m", "tolmach", "check", "loud.yaml")
    assert done.returncode == 2
    assert "loud.yaml:5:29: error[bad-value]: gain_db must be at least -60 and at most 40, got 60" in done.stdout


def test_its_settings_are_in_the_schema_on_request(run_python):
    plain = json.loads(run_python("-m", "tolmach", "schema").stdout)
    more = json.loads(run_python("-m", "tolmach", "schema", "--plugins").stdout)
    assert "element.gain" not in plain["$defs"]
    assert more["$defs"]["element.gain"]["properties"]["gain_db"]["default"] == 0.0


def test_it_keeps_the_contract(run_python):
    done = run_python("-c", CHECK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "kept\n", "")


def test_without_it_the_type_is_unknown(root: Path, tmp_path: Path):
    (tmp_path / "louder.yaml").write_text(GRAPH)
    done = subprocess.run(
        [sys.executable, "-m", "tolmach", "check", "louder.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "louder.yaml:5:14: error[unknown-type]: no element type named 'gain'" in done.stdout
