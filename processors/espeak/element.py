"""The runtime of ``espeak_tts``, and espeak-ng in this process, through ctypes: one worker thread, one private copy.

Measured on espeak-ng 1.52 (espeakng-loader 0.2.4):

* The library is one big global variable. All calls come from one thread, a piece of text at a time, so that graphs
  with different voices take turns.
* The phase of the pitch flutter and the sign of the harmonics survive an utterance, and even ``espeak_Terminate``: the
  same text gives other samples, even another length, the second time. Only unloading the library resets them. So every
  piece gets a fresh copy (0.8 ms). The copy is our own, held in a memfd, because ``dlclose`` unloads nothing while
  another package has the file open too.
* Breath noise draws from a generator seeded with the time: it is seeded with a constant instead.
* ``espeak_SetVoiceByName`` reads all 141 voice files after each initialisation (5 ms) into an array that
  ``espeak_Terminate`` forgets (2 kB a piece). ``espeak_SetVoiceByFile`` does neither, but turns names into lower case
  and cuts them at 60 characters; a memfd with the voice's file has a name that survives both. The samples are the same.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import threading
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tolmach.pipelines.element import Context, Spoken
from tolmach.pipelines.errors import GraphError, ModelError, ModelMissingError
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.processors.espeak.spec import RATE_HZ, EspeakSettings
from tolmach.processors.languages import primary_language
from tolmach.processors.text_normalization import IN_DEPTH, prepare
from tolmach.processors.tts.element import SpeechElement, split_text
from tolmach.processors.tts.lexicon import NO_LEXICON, load_lexicon

PIECE_CHARS = 400
"""Longest text given to the library at once: other graphs wait for it, and its audio (under a minute at the slowest
rate, 5 MB) may have to wait in memory."""

_AUDIBLE = re.compile(r"\w|[^\w\s.,;:!?…'\"«»„“”‘’()\[\]{}–—‒―\-_*/\\|~^`]")


class EspeakTts(SpeechElement):
    """Speaks translations with espeak-ng."""

    settings: EspeakSettings

    rate_hz = RATE_HZ

    def __init__(self, settings: EspeakSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._lexicon = NO_LEXICON

    async def start(self) -> None:
        """Load the library and look up the voice.

        Raises:
            GraphError: If the library has no such voice, or the lexicon cannot be read.
            ModelError: If the library is missing or does not start.
        """
        self._lexicon = await asyncio.to_thread(load_lexicon, self.settings.lexicon, self.context.base_dir)
        for lang, voice in self.settings.by_language.items():
            await check_voice(voice)
            await asyncio.to_thread(readable, "1", lang, self.settings)  # dictionaries are loaded before the first text
        self.languages = tuple(self.settings.by_language)
        found_hz = await rate_hz()
        if found_hz != RATE_HZ:
            raise ModelError(
                f"this espeak-ng speaks at {found_hz} Hz, not at the {RATE_HZ} Hz the graph was checked for"
            )

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        """Speak sentence by sentence. See :meth:`SpeechElement.synthesise`."""
        settings, voices = self.settings, self.settings.by_language
        lang = frame.target_lang if frame.target_lang in voices else next(iter(voices))
        text = await asyncio.to_thread(readable, self._lexicon.apply(frame.text, stress=False), lang, settings)
        pieces = [p for p in split_text(sanitise(text), PIECE_CHARS) if _AUDIBLE.search(p)]
        for at, piece in enumerate(pieces):
            pause = at + 1 < len(pieces) and piece.rstrip("\"'»”’)]").endswith((".", "!", "?", "…"))
            own_pause = pause and settings.pause_ms is None
            request = Request(
                piece, voices[lang], settings.rate_wpm, settings.pitch, settings.volume, end_pause=own_pause
            )
            made: list[Samples] | None = self.made_before(frame, request)
            if made is not None:
                for block in made:
                    yield block
            else:
                made = []
                async with aclosing(speak(request)) as blocks:
                    async for block in blocks:
                        made.append(block)
                        yield block
                self.cache.put(request, made, sum(block.nbytes for block in made))
            if pause and settings.pause_ms:
                yield np.zeros(RATE_HZ * settings.pause_ms // 1000, np.float32)


def spoken(settings: EspeakSettings, text: str) -> Spoken:
    """What the voice would say of a text."""
    text = load_lexicon(settings.lexicon, Path.cwd()).apply(text, stress=False)
    return Spoken(sanitise(readable(text, next(iter(settings.by_language)), settings)))


def readable(text: str, lang: str, settings: EspeakSettings) -> str:
    """The text as espeak-ng is given it: in words, where the room of text normalization reads better than it does.

    espeak-ng declines no number and guesses no date: of 821 Russian sentences with numbers, dates and abbreviations it
    reads 47 right, of 275 English ones 69 (compared by its own phonemes with the right readings). A text with letters
    that would be lost (Chinese in a Russian sentence) is left as it is, for espeak-ng names them.

    Args:
        text: What is to be said.
        lang: Its language.
        settings: Those of the voice; ``normalize`` turns it off.
    """
    if not settings.normalize or primary_language(lang) not in IN_DEPTH:
        return text
    prepared = prepare(text, lang)
    if prepared.lost:
        return text
    # Where a capital follows, a full stop ends a sentence; behind "one. two" espeak-ng makes no pause.
    said = _SENTENCE.sub(lambda m: m.group().upper(), prepared.text)
    if primary_language(lang) == "en":
        # Alone, espeak-ng says "ay" as "eye", and "a" as in "a house".
        return _LETTER_A.sub("eigh", said)
    return _STRESSED.sub("\\1\u0301", said)


_SENTENCE = re.compile(r"^\w|(?<=[.!?…] )\w")
_LETTER_A = re.compile(r"(?<![\w'])ay(?![\w'])", re.IGNORECASE)
_STRESSED = re.compile(r"\+(\w)")
"""A stressed vowel: espeak-ng takes a combining acute behind it, and reads a plus sign out."""


# The library ------------------------------------------------------------------------------------------------------

# espeak-ng/src/include/espeak-ng/speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_ENDPAUSE = 0x1000
_RATE, _VOLUME, _PITCH = 1, 2, 3
_POS_CHARACTER = 1
_BUFFER_MS = 60
_SEED = 1

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _VoiceStruct(ctypes.Structure):
    """``espeak_VOICE``; ``languages`` is a list of (priority byte, C string), ended by a zero priority."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A piece of text and how to speak it.

    Attributes:
        text: Any text; see :func:`sanitise` for what is left of it.
        voice: Language code of a voice, with ``+variant`` if wanted.
        rate_wpm: Speaking rate, words a minute, 80 to 450.
        pitch: 0 to 99.
        volume: Per cent.
        end_pause: Whether the pause between sentences follows.
    """

    text: str
    voice: str
    rate_wpm: int = 175
    pitch: int = 50
    volume: int = 100
    end_pause: bool = False


async def speak(request: Request) -> AsyncGenerator[Samples, None]:
    """Speak a piece of text; yields float32[n], mono, [-1, 1], at :func:`rate_hz`, as the library makes them.

    An async generator; keep the text short (a sentence), for nothing but its length bounds what waits here to be taken
    and how long others wait for the library.

    Cancelled by: cancel of the graph; the library then stops at its next block. The worker thread makes the audio.

    Raises:
        GraphError: If there is no such voice.
        ModelError: If the library fails.
    """
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
    unwanted = threading.Event()

    def on_block(pcm: bytes) -> bool:
        if unwanted.is_set():
            return False
        try:
            loop.call_soon_threadsafe(blocks.put_nowait, pcm)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return False
        return True

    job = loop.run_in_executor(_worker(), lambda: _library().speak(request, on_block))
    job.add_done_callback(lambda _: blocks.put_nowait(None))
    try:
        while (pcm := await blocks.get()) is not None:
            yield np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(32768)
        await job
    finally:
        unwanted.set()
        job.cancel()


async def check_voice(voice: str) -> None:
    """Raises GraphError if the library has no such voice. Cancelled by: the caller."""
    await asyncio.get_running_loop().run_in_executor(_worker(), lambda: _library().voice_file(voice))


async def rate_hz() -> int:
    """Sample rate of the library, Hz. Cancelled by: the caller."""
    return await asyncio.get_running_loop().run_in_executor(_worker(), lambda: _library().rate_hz)


async def list_voices() -> Mapping[str, str]:
    """The library's voices: voice file by language code (lower case). Cancelled by: the caller."""
    return await asyncio.get_running_loop().run_in_executor(_worker(), lambda: _library().voices)


def sanitise(text: str) -> str:
    """The text without what espeak-ng would obey or choke on.

    Control characters (0x01 starts an embedded command, 0x00 ends the text), invisible format characters (soft
    hyphens, direction marks), private-use characters (espeak-ng's own codes), lone surrogates and unassigned code
    points are no speech. Markup and ``[[phonemes]]`` need no care: they are only obeyed when flags ask for it.
    """
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return " ".join("".join(c for c in text if not unicodedata.category(c).startswith("C")).split())


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="espeak")


@cache
def _library() -> _Library:
    return _Library()


class _Library:
    """The library; every method is called in the worker thread."""

    def __init__(self) -> None:
        if not hasattr(os, "memfd_create"):
            raise ModelError(
                "espeak_tts runs on Linux only, where it can keep a private copy of the library in memory (memfd); "
                "here, speak with silero_tts, or run a graph without a voice (subtitles)"
            )
        try:
            import espeakng_loader

            self._data = Path(espeakng_loader.get_data_path())
            image = Path(espeakng_loader.get_library_path()).read_bytes()
        except (ImportError, RuntimeError, OSError) as error:
            raise ModelMissingError(
                f"espeak-ng is not installed ({error}): pip install espeakng-loader, which carries library and data"
            ) from error
        self._path = _memory_file("libespeak-ng.so", image)
        self._files: dict[str, str] = {}
        dl = ctypes.CDLL(None)
        dl.dlclose.argtypes = (ctypes.c_void_p,)
        self._dlclose = dl.dlclose
        lib = self._open()
        self.rate_hz: int = lib.espeak_ng_GetSampleRate()
        self.voices = _read_voices(lib)
        self._close(lib)

    def speak(self, request: Request, on_block: Callable[[bytes], bool]) -> None:
        """Give all samples (int16, native order) to ``on_block`` until it returns False."""
        text = sanitise(request.text).encode()
        if not text:
            return
        voice = self.voice_file(request.voice)
        failures: list[BaseException] = []

        def on_samples(samples: int | None, count: int, events: int | None) -> int:
            try:
                return int(bool(samples and count > 0 and not on_block(ctypes.string_at(samples, 2 * count))))
            except BaseException as error:
                failures.append(error)  # ctypes would only print it
                return 1

        callback = _Callback(on_samples)  # must outlive the synthesis
        lib = self._open()
        try:
            lib.espeak_SetSynthCallback(callback)
            _check(lib.espeak_SetVoiceByFile(voice.encode()), f"choosing voice {request.voice}")
            for parameter, value in (
                (_RATE, request.rate_wpm),
                (_VOLUME, request.volume),
                (_PITCH, request.pitch),
            ):
                _check(lib.espeak_SetParameter(parameter, value, 0), "setting a parameter")
            flags = _CHARS_UTF8 | (_ENDPAUSE if request.end_pause else 0)
            size = ctypes.c_size_t(len(text) + 1)
            _check(lib.espeak_Synth(text + b"\0", size, 0, _POS_CHARACTER, 0, flags, None, None), "speaking")
        finally:
            self._close(lib)
        if failures:
            raise failures[0]

    def voice_file(self, voice: str) -> str:
        """Path of a voice's file, in memory, with its variant.

        Raises:
            GraphError: If there is no such voice or variant.
        """
        if voice in self._files:
            return self._files[voice]
        code, _, variant = voice.partition("+")
        identifier = self.voices.get(code.lower())
        if identifier is None:
            raise GraphError(f"espeak-ng has no voice {code!r}; it has {', '.join(sorted(self.voices))}")
        variants = {path.name for path in (self._data / "voices" / "!v").iterdir()}
        if variant and variant not in variants:
            raise GraphError(f"espeak-ng has no voice variant {variant!r}; it has {', '.join(sorted(variants))}")
        file = _memory_file(identifier.rpartition("/")[2], (self._data / "lang" / identifier).read_bytes())
        self._files[voice] = f"{file}+{variant}" if variant else file
        return self._files[voice]

    def _open(self) -> ctypes.CDLL:
        lib = ctypes.CDLL(self._path)
        if lib.espeak_ng_GetSampleRate() != 0:
            raise ModelError("the espeak-ng library was not unloaded after its last use; its state would leak")
        data = str(self._data).encode()
        rate = lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, _INITIALIZE_DONT_EXIT)
        if rate <= 0:
            raise ModelError(f"espeak-ng does not start with the data in {self._data} (status {rate})")
        lib.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        return lib

    def _close(self, lib: ctypes.CDLL) -> None:
        lib.espeak_Terminate()
        self._dlclose(lib._handle)


def _memory_file(name: str, content: bytes) -> str:
    """A file that lives as long as the process and is seen by nobody else; returns its path."""
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return f"/proc/self/fd/{descriptor}"


def _read_voices(lib: ctypes.CDLL) -> dict[str, str]:
    lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceStruct))
    listed = lib.espeak_ListVoices(None)
    best: dict[str, tuple[int, str]] = {}
    at = 0
    while listed[at]:
        voice = listed[at].contents
        for priority, code in _read_languages(voice.languages):
            # Several voices answer to "en"; the lowest number is the preferred one.
            best[code] = min(best.get(code, (256, "")), (priority, voice.identifier.decode()))
        at += 1
    return {code: identifier for code, (_, identifier) in best.items()}


def _read_languages(address: int) -> list[tuple[int, str]]:
    languages: list[tuple[int, str]] = []
    while priority := ctypes.string_at(address, 1)[0]:
        code = ctypes.string_at(address + 1)
        languages.append((priority, code.decode().lower()))
        address += len(code) + 2
    return languages


def _check(status: int, doing: str) -> None:
    if status != 0:
        raise ModelError(f"espeak-ng failed while {doing} (status {status})")
