"""The voices on the page: which there are, which one the chosen graph speaks with, and a short sample of each to hear.

A sample is made once, by a process of its own (`tolmach speak`) at low priority: the event loop does not wait for it,
no session gives up its place, a model that was loaded to be tried out does not stay in the memory of the server, and an
engine that crashes takes nothing along. Nothing is downloaded: only voices that would speak at once have a sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolmach.pipelines.graph import Graph
from tolmach.pipelines.registry import Registry
from tolmach.pipelines.speech import KnownVoice, is_setting, known_voices, where_text
from tolmach.processors.tts import wanted_languages
from tolmach.web.errors import ApiError

__all__ = ["Voices", "Wanted", "sample_text"]

log = logging.getLogger(__name__)

SAMPLE_S = 90.0
"""How long a sample may take to be made, s: Python, torch and a model of 145 MB on a busy machine take 20."""
MAX_WAITING = 8
"""Samples that may wait for the one that is made; who asks for a further one is told to come again."""
MAX_KEPT_BYTES = 32 * 2**20
"""Samples kept, together; one of four seconds at 48 kHz has 400 kB. The one not heard for longest goes first."""
MAX_SAMPLE_BYTES = 4 * 2**20
_NICE = 10

_TEXTS: Mapping[str, str] = {
    "bg": "Добър ден! Така звучи моят глас.",
    "cs": "Dobrý den! Takhle zní můj hlas.",
    "da": "Goddag! Sådan lyder min stemme.",
    "de": "Guten Tag! So klingt meine Stimme.",
    "el": "Καλημέρα! Έτσι ακούγεται η φωνή μου.",
    "en": "Good day! This is what my voice sounds like.",
    "es": "¡Buenos días! Así suena mi voz.",
    "et": "Tere päevast! Nii kõlab minu hääl.",
    "fi": "Hyvää päivää! Tältä ääneni kuulostaa.",
    "fr": "Bonjour ! Voici ma voix.",
    "hr": "Dobar dan! Ovako zvuči moj glas.",
    "hu": "Jó napot! Így szól a hangom.",
    "it": "Buongiorno! Questa è la mia voce.",
    "lt": "Laba diena! Taip skamba mano balsas.",
    "lv": "Labdien! Tā skan mana balss.",
    "mt": "Bonġu! Dan hu leħni.",
    "nl": "Goedendag! Zo klinkt mijn stem.",
    "pl": "Dzień dobry! Tak brzmi mój głos.",
    "pt": "Bom dia! Esta é a minha voz.",
    "ro": "Bună ziua! Așa sună vocea mea.",
    "ru": "Добрый день! Так звучит мой голос.",
    "sk": "Dobrý deň! Takto znie môj hlas.",
    "sl": "Dober dan! Tako zveni moj glas.",
    "sv": "God dag! Så här låter min röst.",
    "uk": "Добрий день! Так звучить мій голос.",
}

_VARIANT = re.compile(r"[A-Za-z0-9_+-]+")
"""A name that can be no path and no address."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose sample a client wants.

    Attributes:
        type: Type of the element.
        name: Name of the voice.
        lang: Language, BCP-47.
        speaker: Who of the voice; None for the usual one.
        variant: What the voice is called where it speaks otherwise than it is listed (ru+f2), or None.
    """

    type: str
    name: str
    lang: str
    speaker: str | None = None
    variant: str | None = None


def sample_text(lang: str) -> str:
    """What a voice says of itself; in languages without a sentence here it counts, which every voice can."""
    return _TEXTS.get(lang.partition("-")[0].lower(), "1, 2, 3.")


class Voices:
    """The voices of one server; make it inside the event loop."""

    def __init__(self) -> None:
        self._registry = Registry.default()
        self._kept: dict[Wanted, bytes] = {}
        self._making: dict[Wanted, asyncio.Task[bytes]] = {}
        self._turn = asyncio.Lock()

    async def as_json(self, graph: Graph | None) -> dict[str, Any]:
        """The answer to ``POST /api/voices``: all voices, and which of them the graph speaks with.

        Cancelled by: the client's going away.
        """
        known = await asyncio.to_thread(known_voices, self._registry)
        chosen = _chosen(graph, known) if graph is not None else []
        return {"voices": [_voice(each) for each in known], "chosen": chosen}

    async def sample(self, wanted: Wanted) -> bytes:
        """A voice's sample, a WAV file; made when it is first asked for.

        Raises:
            ApiError: 404 if there is no such voice or speaker, 409 if it would not speak at once, 503 if too many
                samples wait or it could not be made.

        Cancelled by: the client's going away; the sample is made all the same, for the next one.
        """
        voices = await asyncio.to_thread(known_voices, self._registry, wanted.lang)
        known = next((v for v in voices if (v.spec.type, v.voice.name) == (wanted.type, wanted.name)), None)
        if known is None or not _is_offered(wanted, known):
            raise ApiError(404, "not-found", "there is no such voice on this server")
        if not known.ready:
            raise ApiError(
                409, "conflict", f"{wanted.name} would not speak at once on this server: {where_text(known)}"
            )
        if wanted in self._kept:
            self._kept[wanted] = kept = self._kept.pop(wanted)
            return kept
        task = self._making.get(wanted)
        if task is None:
            if len(self._making) >= MAX_WAITING:
                raise ApiError(503, "no-sample", "many samples are being made; try again in a moment", 5)
            task = self._making[wanted] = asyncio.create_task(self._make(wanted), name=f"voice-sample-{wanted.name}")
            task.add_done_callback(lambda done: self._made(wanted, done))
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Make no more samples. Safe twice."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _made(self, wanted: Wanted, task: asyncio.Task[bytes]) -> None:
        del self._making[wanted]
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[wanted] = task.result()
        while sum(map(len, self._kept.values())) > MAX_KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    async def _make(self, wanted: Wanted) -> bytes:
        async with self._turn:  # one at a time: the machine is there for those who talk
            with tempfile.TemporaryDirectory(prefix="tolmach-sample-") as folder:
                path = Path(folder) / "sample.wav"
                try:
                    async with asyncio.timeout(SAMPLE_S):
                        said = await _speak(wanted, path)
                except TimeoutError:
                    raise ApiError(
                        503, "no-sample", "the sample took too long to be made; try again later", 60
                    ) from None
                return await asyncio.to_thread(_read, path, said)


def _is_offered(wanted: Wanted, known: KnownVoice) -> bool:
    """Whether a client may hear just this of a voice."""
    if wanted.speaker is not None and wanted.speaker not in known.voice.speakers:
        return False
    if wanted.variant is None:
        return True
    return bool(_VARIANT.fullmatch(wanted.variant)) and is_setting(known.spec, wanted.lang, wanted.variant)


async def _speak(wanted: Wanted, path: Path) -> str:
    """Run `tolmach speak`; what it said on standard error. Cancelled by: the server's end, which ends the process."""
    spec, voice = Registry.default().get(wanted.type), wanted.variant or wanted.name
    command = [sys.executable, "-m", "tolmach", "speak", "--lang", wanted.lang, "--voice", voice, "-q", "-o", str(path)]
    command += ["--speaker", wanted.speaker] if wanted.speaker else []
    # A second copy of what sessions use has no place on their GPU.
    command += ["--set", "device=cpu"] if "device" in spec.settings.model_fields else []
    command += ["--", sample_text(wanted.lang)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with contextlib.suppress(OSError, AttributeError):  # no such call on Windows
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")


def _read(path: Path, said: str) -> bytes:
    if not path.is_file() or path.stat().st_size > MAX_SAMPLE_BYTES:
        log.warning("a voice could not be tried: %s", said.strip() or "it said nothing")
        raise ApiError(503, "no-sample", "the voice could not be tried; the server's log says why", 60)
    return path.read_bytes()


def _voice(known: KnownVoice) -> dict[str, Any]:
    voice = known.voice
    return {
        "type": known.spec.type,
        "name": voice.name,
        "langs": list(voice.langs),
        "speakers": list(voice.speakers),
        "rates_hz": list(voice.rates_hz),
        "licence": voice.licence,
        "commercial": voice.commercial,
        "size_bytes": voice.size_bytes,
        "place": known.place,
        "here": known.here,
        "ready": known.ready,
        "where": where_text(known),
    }


def _chosen(graph: Graph, known: list[KnownVoice]) -> list[dict[str, Any]]:
    """What a graph speaks with, a language each: the voice's own name in ``variant`` where no list has it."""
    found = []
    for node in graph.nodes.values():
        if node.spec.speaks is None:
            continue
        settings = graph.settled(node.name)
        speaks = node.spec.speaks(settings)
        caps = {link.sink.pad: link.caps for link in graph.links_to(node.name)}
        for lang, name in ((lang, speaks[lang]) for lang in wanted_languages(tuple(speaks), caps)):
            of_type = [v.voice for v in known if v.spec.type == node.spec.type and lang in v.voice.langs]
            listed = next((v for v in of_type if v.name == name), None) or (of_type[0] if len(of_type) == 1 else None)
            found.append(
                {
                    "element": node.name,
                    "type": node.spec.type,
                    "lang": lang,
                    "name": listed.name if listed else None,
                    "variant": None if listed and listed.name == name else os.path.basename(name),  # noqa: PTH119
                    "speaker": getattr(settings, "speaker", None),
                }
            )
    return found
