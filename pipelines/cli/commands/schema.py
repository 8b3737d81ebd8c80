"""Print the JSON Schema of graph files, with every element type's settings; check that a file holds it; or install it.

`tolmach schema --install` puts it where it stays, in the user's data folder, and says what editors need to know.
`tolmach schema --install my.yaml` also writes that into the first line of my.yaml. Do it again after an update, or with
--plugins after installing elements of others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tolmach.pipelines.cli.main import EXIT_FAILED, EXIT_OK
from tolmach.pipelines.cli.options import add_output, write_output
from tolmach.pipelines.describe.schema import FILE_NAME, schema_text
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.shipped import config_dir

_MODELINE = re.compile(r"# yaml-language-server: *\$schema=.*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_output(parser)
    parser.add_argument("--plugins", action="store_true", help="include the types of installed third parties")
    parser.add_argument(
        "--check",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="write nothing; exit 1 if FILE (default: the shipped one) is not what would be written",
    )
    parser.add_argument(
        "--install",
        nargs="*",
        type=Path,
        metavar="GRAPH",
        help="write it into the user's data folder and say what editors need; into the first line of each GRAPH, too",
    )


def run(args: argparse.Namespace) -> int:
    """Print, write, check or install."""
    if sum(given is not None for given in (args.output, args.check, args.install)) > 1:
        raise GraphError("--output, --check and --install are three things to do; choose one")
    text = schema_text(Registry.default() if args.plugins else Registry.builtin())
    if args.check is not None:
        path = config_dir() / FILE_NAME if args.check == Path() else args.check
        return _check(path, text)
    if args.install is not None:
        return _install(text, args.install, args.plugins)
    write_output(args.output, text)
    return EXIT_OK


def data_dir() -> Path:
    """Tolmach's folder among the user's data, on each system where its programs look for such.

    That of the XDG Base Directory Specification 0.8 (``XDG_DATA_HOME``, else ``~/.local/share``), ``LOCALAPPDATA`` on
    Windows, ``~/Library/Application Support`` on macOS.
    """
    chosen = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", "")
    if chosen and Path(chosen).is_absolute():  # a relative one is invalid and must be ignored, says the specification
        return Path(chosen) / "tolmach"
    local = {"win32": "AppData/Local", "darwin": "Library/Application Support"}.get(sys.platform, ".local/share")
    return Path.home() / local / "tolmach"


def _install(text: str, graphs: Sequence[Path], plugins: bool) -> int:
    path = data_dir() / FILE_NAME
    modeline = f"# yaml-language-server: $schema={path.as_uri()}"
    texts = {graph: _with_modeline(_read(graph), modeline) for graph in graphs}  # all are read before one is written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraphError(f"cannot make {path.parent}: {error.strerror or error}") from error
    _replace(path, text)
    for graph, changed in texts.items():
        _replace(graph, changed)
    whose = "all types that are installed" if plugins else "the types that ship; --plugins adds those of plug-ins"
    print(f"{path}: written ({whose})")
    if graphs:
        print(f"first line set: {', '.join(map(str, graphs))}")
        return EXIT_OK
    setting = json.dumps({"yaml.schemas": {path.as_uri(): ["graphs/*.yaml"]}}, indent=2)
    print(f"\nfor one graph, its first line (`tolmach schema --install GRAPH` writes it):\n{modeline}")
    print(f"\nfor all graphs of a folder, in .vscode/settings.json (extension redhat.vscode-yaml):\n{setting}")
    return EXIT_OK


def _with_modeline(text: str, modeline: str) -> str:
    """A graph file whose first line names the schema; one that names another is changed, the rest stays as it is."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    first, newline, rest = text.removeprefix(mark).partition("\n")
    end = "\r" if first.endswith("\r") else ""
    if _MODELINE.fullmatch(first.rstrip("\r")):
        return f"{mark}{modeline}{end}{newline or chr(10)}{rest}"
    return f"{mark}{modeline}{end}\n{text.removeprefix(mark)}"


def _read(graph: Path) -> str:
    try:
        return graph.read_bytes().decode("utf-8")
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise GraphError(f"{graph}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all: an editor may be reading it."""
    target = path.resolve()  # a link stays one
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(text.encode("utf-8"))
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise GraphError(f"cannot write {path}: {error.strerror or error}") from error


def _check(path: Path, text: str) -> int:
    try:
        current = path.read_text(encoding="utf-8")
    except OSError as error:
        print(f"{path}: {error.strerror}; write it with `tolmach schema -o {path}`", file=sys.stderr)
        return EXIT_FAILED
    if current != text:
        print(f"{path}: stale; write it again with `tolmach schema -o {path}`", file=sys.stderr)
        return EXIT_FAILED
    print(f"{path}: current")
    return EXIT_OK
