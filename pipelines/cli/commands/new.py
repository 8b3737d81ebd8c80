"""Begin a plug-in: write a package with a new element, its tests and a graph with it.

`tolmach new element loud` makes the folder tolmach-loud. After `pip install -e tolmach-loud` graphs may use the type
`loud`; what is written passes its own tests. Nothing that exists is overwritten.
"""

from __future__ import annotations

import argparse
import builtins
import keyword
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import tolmach
from tolmach.pipelines.cli.main import EXIT_OK
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.registry import Registry

KINDS: Mapping[str, str] = {
    "transform": "audio in, audio out, frame by frame",
    "denoiser": "audio in, audio out, in blocks of so many samples",
    "text-filter": "texts in, texts out",
    "source": "audio out of nothing",
    "translator": "utterances in, texts in another language out",
}
"""What an element may be begun as, and that in words; each is a folder of :data:`TEMPLATES`."""

TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "element"
"""Packages that work as they are, of an element named ``my_element``: ``common`` and one of each kind over it."""

MAX_NAME = 40
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUFFIXES = (".md", ".py", ".toml", ".typed", ".yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("what", choices=("element",), metavar="element", help="what to begin")
    parser.add_argument("name", metavar="NAME", help="its type in graphs: lower snake case, such as noise_gate")
    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    parser.add_argument(
        "--kind", choices=tuple(KINDS), default="transform", help=f"what to begin with ({kinds}); default: transform"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder to make; default: tolmach-NAME in the current one"
    )


def run(args: argparse.Namespace) -> int:
    """Write the package and say what to do with it."""
    require_name(args.name)
    folder = args.output if args.output is not None else Path(f"tolmach-{args.name.replace('_', '-')}")
    written = write_element(args.name, args.kind, folder)
    print(f"{folder}:")
    for path in written:
        print(f"  {path}")
    print(f"\nnext:\n  pip install -e '{folder}[dev]'\n  tolmach inspect {args.name}\n  pytest {folder}")
    return EXIT_OK


def require_name(name: str) -> None:
    """Refuse what cannot be the type of a new element.

    Raises:
        GraphError: Says why, and a name that can.
    """
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_0123456789")
        hint = f"; did you mean '{better}'?" if _NAME.fullmatch(better) and len(better) <= MAX_NAME else ""
        raise GraphError(
            f"{name!r} is no name for an element: use small letters, digits and single '_', a letter first{hint}"
        )
    if len(name) > MAX_NAME:
        raise GraphError(f"the name has {len(name)} letters; an element's type has at most {MAX_NAME}")
    made = _class_name(name)
    if keyword.iskeyword(made) or hasattr(builtins, made) or made in tolmach.__all__:
        raise GraphError(f"{name!r} would be the class {made}, which is something else already; choose another name")
    registry = Registry.default()
    if name in registry:
        raise GraphError(f"there is an element type {name!r}, of {registry.entry(name).origin}; choose another name")


def write_element(name: str, kind: str, folder: Path) -> tuple[Path, ...]:
    """Write a package with an element.

    Args:
        name: Its type, as :func:`require_name` allows it.
        kind: One of :data:`KINDS`.
        folder: The folder to make.

    Returns:
        The files, relative to the folder.

    Raises:
        GraphError: If the folder exists already or cannot be written.
    """
    texts = dict(sorted(_texts(name, kind)))
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise GraphError(f"{folder} exists already, and nothing is overwritten; name another with --output") from error
    except OSError as error:
        raise GraphError(f"cannot make {folder}: {error.strerror or error}") from error
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # ours: it did not exist
        raise GraphError(f"cannot write {folder}: {error.strerror or error}") from error
    return tuple(texts)


def _texts(name: str, kind: str) -> Iterator[tuple[Path, str]]:
    for part in (TEMPLATES / "common", TEMPLATES / kind):
        for path in part.rglob("*"):
            if path.suffix in _SUFFIXES:
                yield Path(_renamed(str(path.relative_to(part)), name)), _renamed(path.read_text("utf-8"), name)


def _renamed(text: str, name: str) -> str:
    return (
        text.replace("my_element", name)
        .replace("MyElement", _class_name(name))
        .replace("my-element", name.replace("_", "-"))
    )


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
