"""Say a text with a voice and write the sound to a file, or show what would be said and what would be lost.

    tolmach speak "Где вокзал?" --lang ru -o вокзал.wav
    tolmach speak "Глава IV, 25 %" --lang ru --show
    tolmach speak - --lang en -o - < letter.txt | aplay

TEXT is one argument or several, or `-` for standard input, a paragraph a line. Without --voice it is the first voice of
the language that speaks at once, one that was downloaded before those that come with a package; `tolmach voices` lists
them. Exit status: 0 said, 1 something failed, 2 no such language, voice or setting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tolmach.pipelines.cli.main import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_OK
from tolmach.pipelines.cli.options import add_model_host, add_set
from tolmach.pipelines.errors import Cancelled, GraphError
from tolmach.pipelines.models.caches import size_text
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import INPUT, Chosen, choose_voice, known_voices, say_of, speech_graph
from tolmach.pipelines.stdio import STDIO

if TYPE_CHECKING:
    from tolmach.pipelines.bus import Message
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.graph import Graph
    from tolmach.pipelines.runtime.runner import RunResult

MAX_TEXT_CHARS = 1_000_000
"""Longest text, characters: a novel, a day of speech. It is held in memory."""

_PIECE_CHARS = 4_000
"""Longest piece that is given to a voice at once, characters; voices take 10,000 (`processors/tts`)."""

_OPTIONS = {"rate": ("rate", "rate_wpm"), "pitch": ("pitch",), "lexicon": ("lexicon",)}
"""Options, and what the settings are called that they give."""

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'»”’)\]]*\s+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what to say; `-` reads standard input")
    parser.add_argument(
        "-l", "--lang", metavar="LANG", help="its language, a BCP-47 tag; known for a voice that speaks one"
    )
    parser.add_argument(
        "--voice",
        metavar="VOICE",
        help="name of a voice, a type of element, a path or an address; see `tolmach voices`",
    )
    parser.add_argument("--speaker", metavar="NAME", help="who of that voice speaks")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="speech.wav",
        help="the file to write (.wav, .flac, .opus, .ogg), `-` for standard output; default: %(default)s",
    )
    parser.add_argument("--rate", metavar="VALUE", help="how fast: espeak-ng words a minute (140), Silero slow … fast")
    parser.add_argument("--pitch", metavar="VALUE", help="how high: espeak-ng 0 to 99, Silero low … high")
    parser.add_argument("--lexicon", metavar="FILE", help="a table of words and how to say them (.tsv)")
    add_set(parser, "a setting of the voice's element (rate_wpm=140)")
    add_model_host(parser)
    parser.add_argument("--show", action="store_true", help="print what would be said, and say nothing")
    parser.add_argument("--json", action="store_true", help="with --show: print a JSON object")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what went wrong")


def run(args: argparse.Namespace) -> int:
    """Say it, or show it."""
    registry = Registry.default()
    chosen = _with_settings(choose_voice(registry, args.lang, args.voice, args.speaker), args)
    text = _text(args.text)
    spoken = say_of(chosen, text)
    if args.show:
        _show(chosen, spoken.text, spoken.lost, as_json=args.json)
        return EXIT_OK
    if not any(map(str.isalnum, spoken.text)):
        raise GraphError(f"{chosen.name} can say nothing of {_short(text)!r}")
    graph = speech_graph(registry, chosen, "file_sink", path=args.output, timeline="compact")
    if not args.quiet:
        _say_who(registry, chosen, named=bool(args.voice))
    return _run(graph, chosen, text, args)


def pieces(text: str, limit: int = _PIECE_CHARS) -> Iterator[str]:
    """A text's paragraphs; what is longer than ``limit`` is cut after a sentence, else between words, else anywhere."""
    for line in text.splitlines():
        paragraph = " ".join(line.split())
        while len(paragraph) > limit:
            head = paragraph[:limit]
            ends = [found.end() for found in _SENTENCE_END.finditer(head)]
            at = ends[-1] if ends else head.rfind(" ") + 1 or limit
            yield paragraph[:at].rstrip()
            paragraph = paragraph[at:]
        if paragraph:
            yield paragraph


def _with_settings(chosen: Chosen, args: argparse.Namespace) -> Chosen:
    """What was chosen, with the settings of the command line.

    Raises:
        GraphError: If one is wrong, or its element has no such setting.
    """
    from tolmach.pipelines.language.check import parse_set

    given, dotted = parse_set(args.set)
    for name, value in dotted.items():
        element, _, setting = name.partition(".")
        if element not in ("voice", chosen.spec.type):
            raise GraphError(f"--set {name}: the only element here is the voice; say --set {setting}=…")
        given[setting] = value
    for option, names in _OPTIONS.items():
        value = getattr(args, option)
        if value is None:
            continue
        found = next((each for each in names if each in chosen.spec.settings.model_fields), None)
        if found is None:
            raise GraphError(
                f"{chosen.spec.type} has no setting {names[0]!r}: leave --{option} out; `tolmach inspect "
                f"{chosen.spec.type}` lists what it has, --set NAME=VALUE gives it"
            )
        given[found] = value
    chosen = replace(chosen, settings={**chosen.settings, **given})
    chosen.validated()
    return chosen


def _text(words: list[str]) -> str:
    if words != [STDIO]:
        return " ".join(words)
    text = sys.stdin.buffer.read(4 * MAX_TEXT_CHARS + 1).decode("utf-8", errors="replace").removeprefix("\ufeff")
    if len(text) > MAX_TEXT_CHARS:
        raise GraphError(f"the text is longer than {MAX_TEXT_CHARS} characters: say it in pieces")
    return text


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _show(chosen: Chosen, text: str, lost: str, *, as_json: bool) -> None:
    if as_json:
        shown = {"text": text, "lost": lost, "lang": chosen.lang, "voice": chosen.name, "type": chosen.spec.type}
        print(json.dumps(shown, ensure_ascii=False))
        return
    print(text)
    if lost:
        # Behind what is said, whichever of the two a terminal shows first.
        sys.stdout.flush()
        print(f"lost, for {chosen.name} cannot say it: {lost}", file=sys.stderr)


def _say_who(registry: Registry, chosen: Chosen, *, named: bool) -> None:
    """Say who speaks; where nobody was named and a package's voice is taken, also which natural one there would be."""
    line = f"{chosen.name} ({chosen.spec.type}) speaks {chosen.lang}"
    if not named and chosen.voice is not None and chosen.voice.place == "package":
        other = next((v for v in known_voices(registry, chosen.lang) if v.place in ("fetch", "downloaded")), None)
        if other is not None:
            size = f"{size_text(other.voice.size_bytes)}, " if other.voice.size_bytes else ""
            line += f"; a natural voice: --voice {other.voice.name} ({size}{other.voice.licence})"
    print(line, file=sys.stderr)


def _run(graph: Graph, chosen: Chosen, text: str, args: argparse.Namespace) -> int:
    # Heavy imports (pipecat) only now: a wrong command line answers at once.
    from tolmach.pipelines.cli.batch.interrupts import Interrupts
    from tolmach.pipelines.cli.commands.run import leave_now
    from tolmach.pipelines.stdio import STDOUT, stdout_for_media

    with (
        stdout_for_media(node.settings for node in graph.nodes.values()) as media,
        Interrupts(leave_now, (1 if media is None else media.fd, 2)) as interrupts,
    ):
        resources: dict[str, object] = {} if media is None else {STDOUT: media}
        try:
            result = asyncio.run(_say(graph, chosen, text, args, resources, interrupts))
        except Cancelled:
            return interrupts.status or EXIT_INTERRUPTED
        except Exception as error:
            if media is not None and _is_broken_pipe(error):
                return EXIT_BROKEN_PIPE
            raise
    if result.status == "cancelled":
        return interrupts.status or EXIT_INTERRUPTED
    if args.output != STDIO and not args.quiet:
        print(args.output)
    return EXIT_OK


async def _say(
    graph: Graph,
    chosen: Chosen,
    text: str,
    args: argparse.Namespace,
    resources: dict[str, object],
    interrupts: Interrupts,
) -> RunResult:
    """Push the text into the graph and wait for its end. Cancelled by: a signal, through ``interrupts``."""
    from tolmach.pipelines.bus import Bus, LoadingMessage, WarningMessage
    from tolmach.pipelines.embed import open as open_graph
    from tolmach.pipelines.frames import TranslationFrame

    def tell(message: Message) -> None:
        if isinstance(message, WarningMessage) or (isinstance(message, LoadingMessage) and not args.quiet):
            print(f"tolmach: {message.text}", file=sys.stderr, flush=True)

    bus = Bus()
    bus.subscribe(tell)
    running = open_graph(graph, bus=bus, overwrite=args.overwrite, resources=resources)
    interrupts.attach(running.cancel)
    async with running:
        speech = running.input(INPUT)
        for number, piece in enumerate(pieces(text), start=1):
            await speech.push_frame(TranslationFrame(number, 0, 0, "", chosen.lang, piece))
        await speech.end()
        return await running.wait()


def _is_broken_pipe(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__
    return error is not None
