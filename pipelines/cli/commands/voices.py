"""List the voices that can be spoken with: by language, with speakers, rates, licence, size, and where each one is.

    tolmach voices ru

A voice that comes with a package speaks at once, so does one that was downloaded; the others say what gets them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tolmach.pipelines.cli.main import EXIT_OK
from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.models.caches import size_text
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import KnownVoice, known_voices, some_of, where_text

_MOST_LANGS = 3
"""More languages are abbreviated, and listed below."""
_MOST_SPEAKERS = 6
"""More speakers than that are abbreviated; v3_en has 118."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("lang", nargs="?", metavar="LANG", help="only voices of this language, a BCP-47 tag (ru)")
    parser.add_argument("--json", action="store_true", help="print a JSON array instead, all speakers included")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    lang = args.lang.lower() if args.lang else None
    registry = Registry.default()
    voices = known_voices(registry, lang)
    if not voices:
        langs = sorted({each for known in known_voices(registry) for each in known.voice.langs})
        raise GraphError(f"no voice speaks {lang!r}; there are voices for {', '.join(langs)}")
    if args.json:
        print(json.dumps([as_json(known) for known in voices], ensure_ascii=False, indent=2))
    else:
        print("\n".join(table(voices)))
    return EXIT_OK


def as_json(known: KnownVoice) -> Mapping[str, Any]:
    """A voice for programs; ``place`` is package, downloaded, fetch or allow."""
    voice = known.voice
    return {
        "name": voice.name,
        "type": known.spec.type,
        "langs": voice.langs,
        "speakers": voice.speakers,
        "rates_hz": voice.rates_hz,
        "licence": voice.licence,
        "commercial": voice.commercial,
        "size_bytes": voice.size_bytes,
        "pinned": voice.pinned,
        "place": known.place,
        "here": known.here,
        "installed": known.installed,
        "ready": known.ready,
        "url": voice.url,
        "path": str(voice.path) if voice.path is not None else None,
    }


def table(voices: Sequence[KnownVoice]) -> Iterator[str]:
    """The list for people, and what its last column asks for.

    One line for a voice in all its languages, and one for those of a package that differ in nothing but language.
    """
    rows = [_HEAD, *(_row(group) for group in _grouped(voices))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    for row in rows:
        yield "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
    yield ""
    for group in _grouped(voices):
        if len(langs := _langs(group)) > _MOST_LANGS:
            yield f"{_name(group)} ({group[0].spec.type}): {' '.join(langs)}"
    places = {known.place for known in voices}
    if "fetch" in places:
        yield f"fetch: `tolmach fetch {_fetched(voices)} --set model=VOICE` gets it."
    if "allow" in places:
        yield "allow: nobody has vouched for its file; fetch tells its SHA-256, and it is loaded once you allow that."
    yield "`tolmach speak TEXT --lang LANG --voice VOICE` lets a voice be heard."


_HEAD = ("LANG", "VOICE", "ELEMENT", "SPEAKERS", "kHz", "LICENCE", "SIZE", "WHERE")


def _grouped(voices: Sequence[KnownVoice]) -> list[list[KnownVoice]]:
    groups: dict[object, list[KnownVoice]] = {}
    for known in voices:
        voice = known.voice
        alike = (voice.speakers, voice.rates_hz, voice.licence) if known.place == "package" else voice.name
        groups.setdefault((known.spec.type, alike), []).append(known)
    return sorted(groups.values(), key=lambda group: (group[0].place == "package", len(_langs(group)) > 1))


def _langs(group: Sequence[KnownVoice]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lang for known in group for lang in known.voice.langs))


def _name(group: Sequence[KnownVoice]) -> str:
    return group[0].voice.name if len({known.voice.name for known in group}) == 1 else "one each"


def _row(group: Sequence[KnownVoice]) -> tuple[str, ...]:
    voice = group[0].voice
    speakers = tuple(dict.fromkeys(speaker for known in group for speaker in known.voice.speakers))
    return (
        some_of(_langs(group), _MOST_LANGS),
        _name(group),
        group[0].spec.type,
        some_of(speakers, _MOST_SPEAKERS),
        "/".join(f"{rate / 1000:g}" for rate in voice.rates_hz),
        voice.licence + ("" if voice.commercial else ", not commercial"),
        size_text(voice.size_bytes) if voice.size_bytes is not None else "",
        _where(group[0]),
    )


def _where(known: KnownVoice) -> str:
    if not known.installed:
        return where_text(known)
    return {"package": "comes with the package", "fetch": "fetch", "downloaded": "downloaded", "allow": "allow"}[
        known.place
    ] + (", here" if known.place == "allow" and known.here else "")


def _fetched(voices: Sequence[KnownVoice]) -> str:
    return next(known.spec.type for known in voices if known.place == "fetch")
