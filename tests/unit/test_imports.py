"""The tools around a graph import nothing heavy, and each answers without it."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from tolmach.pipelines.testing.spec_checks import heavy_imports

BLOCKER = """\
import sys

BLOCKED = {
    "torch", "nemo", "pipecat", "aiortc", "onnxruntime", "av", "scipy", "faster_whisper", "transformers",
    "pymorphy3", "num2words",
}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Blocker())
from tolmach.pipelines.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

GRAPH = """\
version: 1
elements:
  in: {type: file_src, path: a.wav}
  to_16k: {type: resample, rate_hz: 16000, channels: 1}
  vad: {type: silero_vad}
  ast: {type: canary_ast, source_lang: en, target_lang: ru}
  fork: {type: tee}
  tts: {type: espeak_tts, lang: ru}
  dub: {type: file_sink, path: b.wav}
  subs: {type: subtitle_sink, path: b.srt}
links:
  - in -> to_16k -> vad -> ast -> fork -> tts -> dub
  - fork -> subs
"""


@pytest.mark.parametrize(
    "command",
    [
        ["check", "graph.yaml"],
        ["check", "phrasebook", "recording", "subtitles", "vad", "whisper"],
        ["inspect"],
        ["inspect", "canary_ast"],
        ["graph", "graph.yaml", "--format", "svg"],
        ["graph", "graph.yaml", "--format", "dot"],
        ["graph", "graph.yaml", "--format", "mermaid"],
        ["schema"],
        ["schema", "--check"],
        ["--help"],
        ["run", "--help"],
        ["fetch", "--help"],
        ["doctor", "--help"],
    ],
    ids=" ".join,
)
def test_a_tool_needs_no_heavy_module(command: list[str], tmp_path: Path, root: Path):
    (tmp_path / "graph.yaml").write_text(GRAPH)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER, *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("graph", ["phrasebook", "recording", "subtitles", "vad", "whisper"])
def test_a_check_waits_neither_for_numpy_nor_for_the_installed_packages(graph: str, tmp_path: Path, root: Path):
    """The one takes as long as all the rest; reading about the others, with the package email, a twentieth of it."""
    script = BLOCKER.replace('"torch",', '"torch", "numpy", "email",')
    assert script != BLOCKER
    done = subprocess.run(
        [sys.executable, "-c", script, "check", graph],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_who_asks_about_the_installed_packages_is_answered_after_that(root: Path):
    script = (
        "import sys; from tolmach.pipelines.cli.main import main; main(['check', 'vad'])\n"
        "from importlib.metadata import PackageNotFoundError, entry_points, version\n"
        "import importlib.metadata\n"
        "assert 'email' in sys.modules and version('numpy') and list(entry_points(group='console_scripts'))\n"
        "assert importlib.metadata.version('numpy') and isinstance(PackageNotFoundError(), ImportError)"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_blocker_blocks(root: Path):
    """The test above proves nothing if the blocker does nothing."""
    script = BLOCKER.replace("from tolmach.pipelines.cli.main import main", "import scipy")
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert "scipy must not be imported here" in done.stderr


def test_the_harness_for_plugin_authors_is_light():
    assert heavy_imports("tolmach.pipelines.testing.checks") == ()


def test_heavy_imports_are_found_through_other_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sly_outer.py").write_text("import sly_inner\n")
    (tmp_path / "sly_inner.py").write_text("import av\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert heavy_imports("sly_outer") == ("av",)
    with pytest.raises(AssertionError, match="module no_such_module_here cannot be imported alone"):
        heavy_imports("no_such_module_here")


def imports_of_our_files(root: Path) -> dict[str, set[str]]:
    """By module the modules of ours that it imports anywhere, in functions and for type checkers, too."""
    rooms = ("pipelines", "processors", "transports", "web")
    files = [path for room in rooms for path in (root / room).rglob("*.py") if "templates" not in path.parts]
    modules = {
        f"tolmach.{'.'.join(p.relative_to(root).with_suffix('').parts)}".removesuffix(".__init__"): p for p in files
    }
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        imported = found[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= {name if name in modules else node.module for name in names}
        imported &= modules.keys() - {module}
    return found


def test_no_files_import_each_other_in_a_circle(root: Path) -> None:
    imports = imports_of_our_files(root)
    assert len(imports) > 150
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imported in a circle: {' <- '.join(error.args[1])}")
