"""The command line: exit statuses, messages, and that only the chosen command is imported."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tolmach.pipelines.cli import main as cli
from tolmach.pipelines.cli.commands.check import use_color
from tolmach.pipelines.cli.main import COMMANDS, main
from tolmach.pipelines.registry import Registry

GOOD = """\
version: 1
name: tone
elements:
  in: {type: test_src, duration_ms: 100}
  out: {type: fake_sink}
links:
  - in -> out
"""
BAD = GOOD.replace("in -> out", "in -> oud")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_offers_what_the_table_promises(name: str):
    module = importlib.import_module(f"tolmach.pipelines.cli.commands.{name}")
    assert module.__doc__
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_every_command_module_is_in_the_table():
    folder = Path(cli.__file__).parent / "commands"
    assert {p.stem for p in folder.glob("[a-z]*.py")} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([name, "--help"]) == 0
    assert f"usage: tolmach {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tolmach {cli.distribution_version()}\n"


def test_an_unknown_command_names_the_near_one(capsys: pytest.CaptureFixture[str]):
    assert main(["inspekt"]) == 2
    assert capsys.readouterr().err == "tolmach: error: no command named 'inspekt'; did you mean 'inspect'?\n"


def test_a_strange_command_lists_all(capsys: pytest.CaptureFixture[str]):
    assert main(["zzzz"]) == 2
    assert "commands: run, launch, serve, check, inspect" in capsys.readouterr().err


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    assert "required: COMMAND" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error(good: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--colour", str(good)]) == 2
    assert "tolmach check: error: unrecognized arguments: --colour" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(*args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tolmach.pipelines.cli.commands.inspect.run", interrupted)
    assert main(["inspect"]) == 130
    assert capsys.readouterr().err == "tolmach: interrupted\n"


def test_only_the_chosen_command_is_imported():
    script = (
        "import sys; from tolmach.pipelines.cli.main import main; main(['inspect', 'tee'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('tolmach.pipelines.cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["['tolmach.pipelines.cli.commands.inspect']"]


def test_python_m_pipelines_is_tolmach():
    done = subprocess.run([sys.executable, "-m", "tolmach", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tolmach ")


def test_a_reader_that_goes_away_is_no_traceback():
    # More than a pipe holds (64 KiB on Linux), so that the writer meets the closed end.
    read = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    assert read.wait() == 0
    script = "import sys; from tolmach.pipelines.cli.main import main; sys.exit(main(['schema']))"
    done = subprocess.run([sys.executable, "-c", script], stdout=read.stdin, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (cli.EXIT_BROKEN_PIPE, "")


# check ----------------------------------------------------------------------------------------------------------------


def test_check_counts_elements_and_links(good: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: ok (2 elements, 1 link)\n"


def test_check_goes_on_after_a_bad_and_a_missing_graph(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "nowhere.yaml", str(bad), str(good)]) == 2
    shown = capsys.readouterr().out
    assert "error[yaml-syntax]: no graph file 'nowhere.yaml'" in shown
    assert "error[unknown-element]: no element named 'oud'" in shown
    assert "= hint: did you mean 'out'?" in shown
    assert shown.endswith(f"{good}: ok (2 elements, 1 link)\n")


def test_check_json_is_one_document(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--format", "json", str(good), str(bad)]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert (first["ok"], first["elements"], first["links"], first["diagnostics"]) == (True, 2, 1, [])
    assert second["ok"] is False
    assert {"unknown-element"} <= {d["code"] for d in second["diagnostics"]}
    assert {d["line"] for d in second["diagnostics"] if d["code"] == "unknown-element"} == {7}


def test_check_github_annotates_the_file(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--format", "github", str(good), str(bad)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith(f"::error file={bad},line=") for line in lines)


def test_check_set_reaches_settings(good: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--set", "in.duration_ms=-1", str(good)]) == 2
    assert "duration_ms must be at least 0" in capsys.readouterr().out
    assert main(["check", "--set", "in.duration_ms=1", str(good)]) == 0


# inspect --------------------------------------------------------------------------------------------------------------


def test_inspect_lists_types_with_summaries_and_origin(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("tolmach")
    assert re.search(r"^  tee +Copy a stream to several branches\.$", shown, re.MULTILINE)
    assert "`tolmach inspect TYPE` describes one." in shown


def test_inspect_describes_pads_and_settings(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "queue"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("queue: Let the elements before and behind run as separate tasks")
    assert "  src  (src, always)\n      ANY\n      repeats the caps of sink\n" in shown
    assert "  max_ms: int; in ms; [0, 3600000]; default 1000\n      Audio that may wait" in shown
    assert "  leaky: str; one of no, upstream, downstream; default no\n" in shown
    assert "  licence    Apache-2.0\n" in shown


def test_inspect_says_what_may_change_while_a_graph_plays(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "webrtc_src"]) == 0
    shown = capsys.readouterr().out
    assert "  gate_playback: bool; default true; live\n" in shown
    assert "  paced: bool; default true\n" in shown


def test_inspect_json(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "--format", "json", "test_src"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["type"] == "test_src"
    assert info["pads"][0]["caps"] == "audio/raw, channels=1, rate=16000, segmented=false"
    assert next(s for s in info["settings"] if s["name"] == "rate_hz")["unit"] == "Hz"
    assert main(["inspect", "--format", "json"]) == 0
    assert {"type", "summary", "origin", "version"} == set(json.loads(capsys.readouterr().out)[0])


def test_inspect_an_unknown_type_names_the_near_one(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "queu"]) == 2
    assert "no element type named 'queu'; did you mean 'queue'?" in capsys.readouterr().err


# graph, schema, fetch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ([], "digraph "),
        (["--format", "mermaid"], "---\ntitle: "),
        (["--format", "svg"], "<svg "),
    ],
)
def test_graph_draws_in_each_format(good: Path, arguments: list[str], begins: str, capsys: pytest.CaptureFixture[str]):
    assert main(["graph", str(good), *arguments]) == 0
    assert capsys.readouterr().out.startswith(begins)


def test_graph_takes_the_format_from_the_suffix(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["graph", str(good), "-o", str(tmp_path / "g.svg")]) == 0
    assert (tmp_path / "g.svg").read_text().startswith("<svg ")
    assert capsys.readouterr().out == ""


def test_graph_refuses_a_bad_graph_and_writes_nothing(bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["graph", str(bad), "-o", str(tmp_path / "g.svg")]) == 2
    assert "error[unknown-element]" in capsys.readouterr().err
    assert not (tmp_path / "g.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "the following arguments are required: GRAPH\n"),
        (["run", "vad"], "no recording given for param 'input': tolmach run vad INPUT... -o DIR\n"),
        (
            ["run", "talk.mp3"],
            "talk.mp3 is named like a recording; GRAPH comes first: tolmach run phrasebook talk.mp3\n",
        ),
        (
            ["run", "vad", "HERE", "--set", "output=x"],
            "with INPUT the folder is given with -o, not with --set output=...\n",
        ),
        (["run", "CLIP"], "no recording given for param 'clip': tolmach run "),
        (["run", "CLIP", "HERE", "--set", "clip=x"], "either as INPUT or as --set clip=..., not both\n"),
        (["run", "CLIP", "HERE", "--set", "made=x"], "given with -o, not with --set made=...\n"),
        (["run", "NONE", "HERE"], "declares no param 'input' (nor another one with role: input), so it cannot"),
        (["run", "TYPO", "HERE"], "error[bad-value]: 'inptu' is not a role of a param"),
        (["bench", "TYPO", "HERE"], "error[bad-value]: 'inptu' is not a role of a param"),
        (["bench", "NONE", "HERE"], "declares no param 'input' (nor another one with role: input), so it cannot"),
        (["bench", "vad", "--rounds", "0"], "argument --rounds: must be a whole number between 1 and 100\n"),
        (["run", "vad", "--jobs", "two"], "argument --jobs: must be a whole number between 1 and 64\n"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, list) else "",
)
def test_a_wrong_command_says_what_is_wrong_with_it(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = "version: 1\nelements: {in: {type: test_src}, out: {type: fake_sink}}\nlinks: [in -> out]\n"
    files = {"HERE": tmp_path / "talk.wav", "CLIP": tmp_path / "clip.yaml", "NONE": tmp_path / "none.yaml"}
    files["TYPO"] = tmp_path / "typo.yaml"
    files["TYPO"].write_text(f"{text}params: {{clip: {{role: inptu}}}}\n")
    files["HERE"].touch()
    files["CLIP"].write_text(f"{text}params: {{clip: {{role: input}}, made: {{default: out, role: output}}}}\n")
    files["NONE"].write_text(f"{text}params: {{input: {{default: 1, role: none}}}}\n")
    assert main([str(files.get(a, a)) for a in arguments]) == 2
    assert said in capsys.readouterr().err


def test_help_is_what_people_type_first(capsys: pytest.CaptureFixture[str]):
    assert main(["help"]) == 0
    assert capsys.readouterr().out.startswith("usage: tolmach [-h]")


def test_no_color_is_kept_on_standard_error_too(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert use_color(Terminal())
    assert not use_color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_color(Terminal())


def test_graph_refuses_a_drawing_it_cannot_make(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "g.png"
    assert main(["graph", str(good), "-o", str(target)]) == 2
    assert not target.exists()
    said = f"tolmach: error: {target}: no drawing has the suffix .png; use .dot, .gv, .mmd, .svg, or --format\n"
    assert capsys.readouterr().err == said
    assert main(["graph", str(good), "-o", str(target), "--format", "dot"]) == 0


def test_graph_that_cannot_be_written_is_one_line(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "no" / "g.dot"
    assert main(["graph", str(good), "-o", str(target)]) == 2
    assert capsys.readouterr().err == f"tolmach: error: cannot write {target}: No such file or directory\n"


def test_schema_check_tells_stale_from_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "graph.schema.json"
    assert main(["schema", "--check", str(path)]) == 1
    assert main(["schema", "-o", str(path)]) == 0
    assert main(["schema", "--check", str(path)]) == 0
    path.write_text(path.read_text().replace("Tolmach graph", "Tolmach graphs"))
    assert main(["schema", "--check", str(path)]) == 1
    assert f"{path}: stale; write it again with `tolmach schema -o {path}`" in capsys.readouterr().err


def test_fetch_of_a_graph_without_models(good: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fetch", str(good)]) == 0
    assert capsys.readouterr().out == "nothing to fetch: no element of it downloads anything\n"


def test_fetch_says_what_came_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Two types of a plug-in: one whose model cannot be had, one that downloads 2048 bytes."""
    (tmp_path / "fetching_plugin.py").write_text(
        "from tolmach.pipelines.models.caches import cache_dir\n"
        "from tolmach.pipelines.element import ElementSpec, Pad, Settings\n"
        "from tolmach.pipelines.errors import ModelMissingError\n"
        "def missing(settings): raise ModelMissingError('no network')\n"
        "def download(settings):\n"
        "    cache_dir().mkdir(parents=True, exist_ok=True)\n"
        "    path = cache_dir() / 'model.bin'\n"
        "    path.write_bytes(bytes(2048))\n"
        "    return path\n"
        "class S(Settings): '''None.'''\n"
        "def spec(name, fetch):\n"
        "    return ElementSpec(type=name, summary='X.', settings=S, pads=(Pad.sink(),),\n"
        "                       build='fetching_plugin:E', prefetch=f'fetching_plugin:{fetch}')\n"
        "SPECS = (spec('lost', 'missing'), spec('found', 'download'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TOLMACH_CACHE", str(tmp_path / "cache"))
    plugin = importlib.import_module("fetching_plugin")
    registry = Registry.builtin().extended(*plugin.SPECS)
    monkeypatch.setattr(Registry, "default", lambda: registry)
    assert main(["fetch", "lost", "found"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "lost: no network\n"
    assert shown.out == f"found: downloaded 2.0 KiB to {tmp_path / 'cache' / 'model.bin'}\n"
    assert main(["fetch", "found"]) == 0
    assert capsys.readouterr().out == f"found: ready, 2.0 KiB in {tmp_path / 'cache' / 'model.bin'}\n"
    assert main(["fetch", "tee"]) == 0
    assert capsys.readouterr().out == "nothing to fetch: no element of it downloads anything\n"


def test_fetch_wants_the_params_that_say_what_to_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "g.yaml"
    path.write_text(
        "version: 1\nparams: {input: , model: }\nelements:\n  in: {type: file_src, path: '${param:input}'}\n"
        "  r: {type: resample}\n  v: {type: silero_vad}\n"
        "  w: {type: whisper_ast, model: 'openai/${param:model}', source_lang: ru}\n  z: {type: fake_sink}\n"
        "links: [in -> r -> v -> w -> z]\n"
    )
    assert main(["fetch", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"tolmach: error: {path}: what to fetch depends on param 'model'; give --set model=...\n"
    assert shown.out == ""


@pytest.mark.models
def test_doctor_names_what_is_broken_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    identity = Registry.builtin().get("identity")
    lost = dataclasses.replace(identity, type="lost", build="no_such_module_anywhere:Lost")
    registry = Registry({}).extended(identity).extended(lost, origin="tolmach-lost")
    monkeypatch.setattr(Registry, "default", lambda: registry)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert (
        "  ! lost (tolmach-lost): ModuleNotFoundError: No module named 'no_such_module_anywhere'\n"
        "      -> install what provides the module 'no_such_module_anywhere', then install tolmach-lost again\n"
    ) in shown
    assert "1 can be used: identity" in shown


@pytest.mark.models
def test_doctor_survives_a_broken_plugin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def broken() -> Registry:
        raise ImportError("No module named 'left_out'")

    monkeypatch.setattr(Registry, "default", broken)
    assert main(["doctor", "--quick"]) == 1
    shown = capsys.readouterr().out
    assert "! installed element types cannot be read: ImportError: No module named 'left_out'" in shown
    assert "identity" in shown.rpartition("can be used:")[2]


def test_options_may_stand_between_inputs(tmp_path, capsys):
    assert main(["run", "vad", "--set", "vad.hangover_ms=900", str(tmp_path / "none.wav"), "-o", str(tmp_path)]) == 2
    assert "none.wav" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is POSIX")
@pytest.mark.parametrize("where", ["native code in the main thread's place", "a thread that is left behind"])
def test_ctrl_c_ends_the_process_at_once_whatever_its_threads_do(where: str, tmp_path: Path):
    program = f"""
import signal, sys, tempfile, threading
from tolmach.pipelines.cli import main as cli
from tolmach.pipelines.cli.commands import inspect
folder = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})
def hang(*_):
    print("begun", flush=True)
    threading.Event().wait()
def run(args):
    if {where!r}.startswith("native"):
        cli.interruptible(hang)
    threading.Thread(target=hang).start()
    threading.Event().wait()
inspect.run = run
sys.argv = ["tolmach", "inspect"]
cli.script()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "tolmach: interrupted\n")
    assert list(tmp_path.iterdir()) == [], "temporary folders are removed"
