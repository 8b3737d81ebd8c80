"""``tolmach run --mux``: which of a graph's files go back into a copy of the recording, and when that is made.

The copying itself is the file transport's (:mod:`tolmach.transports.files.mux`), named here by a string alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolmach.pipelines.cli.batch.records import Record
from tolmach.pipelines.element import heard_languages, output_paths
from tolmach.pipelines.graph import Graph, Node
from tolmach.pipelines.stdio import STDIO

__all__ = ["AUDIO", "SUBTITLES", "Mux", "MuxTrack", "dubs_of", "subtitles_of"]

SUBTITLES = frozenset({".srt", ".vtt"})
AUDIO = frozenset({".wav", ".flac", ".opus", ".ogg"})
_CHECK = "tolmach.transports.files.mux:check"
_MUX = "tolmach.transports.files.mux:mux"
_MIX = "mix"


@dataclass(frozen=True, slots=True)
class MuxTrack:
    """A file of a graph that becomes a track.

    Attributes:
        path: The file, absolute.
        lang: BCP-47 tag, or "" if it is in several languages.
        title: What players show.
        default: Whether players choose it.
    """

    path: Path
    lang: str
    title: str
    default: bool


def subtitles_of(graph: Graph) -> list[MuxTrack]:
    """The subtitles that a graph writes, in the order of its elements; players do not choose them by themselves."""
    found = []
    for node in graph.nodes.values():
        for path in _files(node, SUBTITLES):
            langs: set[Any] = {link.caps.value("lang") for link in graph.links_to(node.name)}
            show = getattr(node.settings, "show", None)
            if show == "source":  # they are in the language that was spoken
                langs = {lang for each in graph.nodes.values() for lang in heard_languages(each.settings)}
            title = {"source": "Original", "both": "Translation and original"}.get(str(show), "Translation")
            found.append(MuxTrack(path, _only(langs), title, default=False))
    return found


def dubs_of(graph: Graph) -> list[MuxTrack]:
    """The sound files that hold a voice of the graph: mixes first, the first of them the one that players choose.

    Those that do not keep to the time of the recording (``timeline: compact``) are none.
    """
    mixes: list[tuple[Path, str]] = []
    dubs: list[tuple[Path, str]] = []
    for node in graph.nodes.values():
        for path in _files(node, AUDIO) if getattr(node.settings, "timeline", "aligned") == "aligned" else ():
            voices, mixed = _voices_before(graph, node.name)
            if voices:
                spoken = {_spoken(graph, name) for name in voices}
                (mixes if mixed else dubs).append((path, _only(spoken)))
    titled = [(*mix, "Translation over the original") for mix in mixes] + [(*dub, "Translation") for dub in dubs]
    return [MuxTrack(path, lang, title, default=n == 0) for n, (path, lang, title) in enumerate(titled)]


def _files(node: Node, suffixes: frozenset[str]) -> list[Path]:
    paths = [path for path in output_paths(node.settings).values() if path != STDIO]
    return [Path(path).expanduser().absolute() for path in paths if Path(path).suffix.lower() in suffixes]


def _spoken(graph: Graph, voice: str) -> object:
    """In which language an element speaks: the one it gives, or where it knows several the one of the text it gets."""
    links = [*graph.links_from(voice), *graph.links_to(voice)]
    return next((lang for link in links if (lang := link.caps.value("lang")) is not None), None)


def _only(langs: set[Any]) -> str:
    lang = next(iter(langs)) if len(langs) == 1 else None
    return lang if isinstance(lang, str) else ""


def _voices_before(graph: Graph, sink: str) -> tuple[set[str], bool]:
    """The elements before a sink that turn text into sound, and whether a mix stands between them."""
    voices: set[str] = set()
    mixed, seen, waiting = False, {sink}, [sink]
    while waiting:
        name = waiting.pop()
        mixed = mixed or graph.nodes[name].spec.type == _MIX
        for link in graph.links_to(name):
            if any(structure.media.startswith("text/") for structure in link.caps.structures or ()):
                if name != sink:
                    voices.add(name)
            elif link.src.node not in seen:
                seen.add(link.src.node)
                waiting.append(link.src.node)
    return voices, mixed and bool(voices)


class Mux:
    """Makes the copies of a batch.

    Args:
        suffix: Of the copies, such as ``.mkv``; "" for that of each recording.
    """

    def __init__(self, suffix: str = "") -> None:
        self._suffix = suffix

    def target(self, recording: Path, folder: Path, tracks: Sequence[MuxTrack]) -> Path:
        """Where the copy of a recording lies: beside the other outputs, named after it and the language."""
        lang = next((track.lang for track in tracks if track.lang), "")
        tag = f".{lang}" if lang else ".dubbed"
        return (folder / f"{recording.stem}{tag}{self._suffix or recording.suffix}").absolute()

    def problem(self, graph: Graph, recording: Path, folder: Path, mine: Sequence[str], *, overwrite: bool) -> str:
        """Why the copy cannot be made, known before anything is begun; "" if it can. Blocks.

        Args:
            graph: The graph.
            recording: What is copied.
            folder: Where to.
            mine: Copies that earlier runs made there, which may be replaced.
            overwrite: Whether any file may be.
        """
        sounds, subtitles = self.tracks(graph)
        if not sounds and not subtitles:
            return "--mux: the graph writes neither a dub nor subtitles, so there is nothing to put into a copy"
        target = self.target(recording, folder, [*sounds, *subtitles])
        if target == recording.absolute() or target in {track.path for track in (*sounds, *subtitles)}:
            return f"--mux: the copy would be {target}, which is taken; choose another folder with -o"
        if target.exists() and target.name not in mine and not overwrite:
            return f"--mux: {target} exists already and is no copy of an earlier run; --overwrite replaces it"
        found: Callable[..., str] = _named(_CHECK)
        return found(recording, target, sounds, subtitles)

    def tracks(self, graph: Graph) -> tuple[list[MuxTrack], list[MuxTrack]]:
        """Sound and subtitles for the copy; without sound the first subtitles are what players choose."""
        sounds, subtitles = dubs_of(graph), subtitles_of(graph)
        if subtitles and not sounds:
            first = subtitles[0]
            subtitles[0] = MuxTrack(first.path, first.lang, first.title, default=True)
        return sounds, subtitles

    def make(
        self, graph: Graph, recording: Path, record: Record, *, overwrite: bool, stop: Callable[[], bool]
    ) -> tuple[str, list[str]]:
        """Make the copy, unless it is there and younger than what it is made from. Blocks.

        Returns:
            Its path below the output folder, and what people should know.

        Raises:
            Cancelled: Once ``stop`` says so.
            TolmachError: If it cannot be made.
            OSError: If the disk refuses it.
        """
        sounds, subtitles = self.tracks(graph)
        folder = Path(record.output)
        target = self.target(recording, folder, [*sounds, *subtitles])
        name = target.relative_to(folder.absolute()).as_posix()
        mine = name in record.muxed
        if mine and target.is_file():
            made = target.stat().st_mtime_ns
            if all(track.path.stat().st_mtime_ns <= made for track in (*sounds, *subtitles)):
                return name, []
        mux: Callable[..., list[str]] = _named(_MUX)
        return name, mux(recording, target, sounds, subtitles, overwrite=overwrite or mine, stop=stop)


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
