"""Subtitles beside the recording, named as players look for them: ``talk.en.srt`` beside ``talk.mp4``.

VLC, mpv, Kodi, Plex and Jellyfin load a file that has the video's name, a language tag and the suffix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tolmach.pipelines.cli.batch.records import write_whole
from tolmach.pipelines.element import output_paths
from tolmach.pipelines.graph import Graph

SUFFIXES = frozenset({".srt", ".vtt"})


def put_beside(graph: Graph, recording: Path, mine: Sequence[str], *, overwrite: bool) -> tuple[list[str], list[str]]:
    """Copy the subtitles of a finished run beside its recording. Blocks.

    Args:
        graph: The graph, whose files are all written.
        recording: The recording, as the user named it.
        mine: Files an earlier run put there, which may be replaced.
        overwrite: Whether any file may be.

    Returns:
        Absolute paths of the files that lie there now, and why others do not.
    """
    placed: list[str] = []
    problems: list[str] = []
    for source, lang in _subtitles(graph):
        tag = f".{lang}" if lang else ""
        target = Path(os.path.abspath(recording.with_name(f"{recording.stem}{tag}{source.suffix.lower()}")))  # noqa: PTH100 -- no links resolved
        try:
            text = source.read_bytes()
            if str(target) in placed:
                problems.append(f"{target} holds the subtitles of another branch; those in {source} were not copied")
                continue
            if not overwrite and str(target) not in mine and target.exists() and target.read_bytes() != text:
                problems.append(f"{target} exists already and was not replaced (--overwrite); see {source}")
                continue
            write_whole(target, text)
        except OSError as error:
            problems.append(f"{target}: cannot be written: {error.strerror or error}")
            continue
        placed.append(str(target))
    return placed, problems


def _subtitles(graph: Graph) -> Iterator[tuple[Path, str]]:
    for node in graph.nodes.values():
        for path in output_paths(node.settings).values():
            if Path(path).suffix.lower() in SUFFIXES:
                langs = {link.caps.value("lang") for link in graph.links_to(node.name)}
                lang = next(iter(langs)) if len(langs) == 1 else None
                yield Path(path).expanduser().absolute(), lang if isinstance(lang, str) else ""
