"""The runtime of ``silero_tts``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tolmach.pipelines.bus import LoadingMessage, WarningMessage
from tolmach.pipelines.element import Context, Spoken
from tolmach.pipelines.errors import GraphError, ModelRefusedError
from tolmach.pipelines.frames import Samples, TranslationFrame
from tolmach.processors.hosting import HOSTS, HostKey, Lease, located, off_loop
from tolmach.processors.hosting.device import torch_gpus
from tolmach.processors.silero import files, stress
from tolmach.processors.silero import model as silero
from tolmach.processors.silero.files import Package, find_or_fetch, may_not_be_sold, read_allowed
from tolmach.processors.silero.spec import SileroTtsSettings, instead, settle
from tolmach.processors.silero.voices import MAX_CHARS_V1
from tolmach.processors.text_normalization import fit_symbols, prepare
from tolmach.processors.tts.element import SpeechElement, begin_early, split_text
from tolmach.processors.tts.lexicon import NO_LEXICON, STRESSED, Lexicon, load_lexicon


@dataclass(slots=True)
class _Voice:
    """A model that is loaded, and who speaks with it."""

    settings: SileroTtsSettings
    lease: Lease[silero.Utterable, silero.Spoken]
    file: str
    speaker: str
    accentor: Lease[stress.Unmarked, str] | None = None


class Load:
    """Loads a model from bytes that were checked, on a host; in another process it reads and checks them there.

    Args:
        path: The file.
        settings: Of one language.
        device: Where to.
        packages: What was read and checked here; taken out with the first call, and never sent.
    """

    def __init__(self, path: Path, settings: SileroTtsSettings, device: str, packages: list[Package]) -> None:
        self._path = path
        self._settings = settings
        self._device = device
        self._packages = packages

    def __call__(self) -> silero.SileroModel:
        """The model. Blocks; raises what reading, checking and loading it do."""
        settings = self._settings
        package = self._packages.pop() if self._packages else read_allowed(Path(located(str(self._path))), settings)
        symbols = settings.spoken.symbols if settings.spoken else None
        return silero.load(package, settings.language, self._device, settings.cpu_threads, symbols, settings.speakers)

    def __reduce__(self) -> tuple[type[Load], tuple[object, ...]]:
        return Load, (self._path, self._settings, self._device, [])


class SileroTts(SpeechElement):
    """Speaks translations with a Silero model of each language, which all graphs of the process share."""

    settings: SileroTtsSettings

    def __init__(self, settings: SileroTtsSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._voices: dict[str, _Voice] = {}
        self._lexicon = NO_LEXICON

    async def start(self) -> None:
        """Find, check, load and warm up the models of the languages that may come.

        Raises:
            GraphError: If a model has no such speaker, or the lexicon cannot be read.
            ModelMissingError: If it is not on this machine and cannot be downloaded.
            ModelRefusedError: If its SHA-256 is neither pinned nor allowed.
            ModelError: If it cannot be loaded, or not on this device.
        """
        self._lexicon = await off_loop(load_lexicon, self.settings.lexicon, self.context.base_dir)
        self.rate_hz = self.settings.rate_hz
        self.languages = tuple(settle(self.settings, self.context.caps).by_language)
        for lang in self.languages:
            self._voices[lang] = voice = await self._load(self.settings.single(lang))
            # Which may have changed while it was loaded.
            voice.settings = self.settings.single(lang)
            voice.speaker = _speaker_of(voice.settings, voice.lease, voice.file)
            await voice.lease.warm([silero.Utterable("", voice.speaker, self.rate_hz)])
            voice.accentor = await self._load_accentor(voice)

    async def _load(self, settings: SileroTtsSettings) -> _Voice:
        context, loop = self.context, asyncio.get_running_loop()

        def progress(line: str) -> None:
            loop.call_soon_threadsafe(context.post, LoadingMessage(line))

        path = await off_loop(find_or_fetch, settings, context.base_dir, progress)
        # The host keeps its loader for ever; it must not keep the file's bytes with it.
        packages = [await off_loop(read_allowed, path, settings)]
        if settings.commercial and (refused := may_not_be_sold(packages[0])):
            raise ModelRefusedError(f"{path} is {refused}: {instead(settings.language)}")
        device = await HOSTS.device(settings.device, torch_gpus, context.host)
        load = Load(path, settings, device, packages)
        threads = f"{settings.cpu_threads} threads" if settings.cpu_threads else ""
        key = HostKey("silero", f"{path} {packages[0].sha256}", device, threads)
        lease = await HOSTS.acquire(key, load, place=context.host, files=[str(path)])
        packages.clear()
        return _Voice(settings, lease, path.name, "")

    async def _load_accentor(self, voice: _Voice) -> Lease[stress.Unmarked, str] | None:
        """What places the stress before the voice reads, where that is not the voice's own business."""
        lang = voice.settings.accentor
        if lang is None:
            return None
        if voice.settings.stress == "auto" and not stress.is_installed():
            text = (
                f"{voice.file} places no word stress and guesses where none is marked: `pip install {stress.PACKAGE}` "
                "marks it"
            )
            self.context.post(WarningMessage(text, {"package": stress.PACKAGE}))
            return None
        lease = await HOSTS.acquire(
            HostKey(stress.PACKAGE, lang, "cpu"), partial(stress.load, lang), place=self.context.host
        )
        voice.accentor = lease  # so that it is given back even if what follows fails
        await lease.warm()
        return lease

    def change_settings(self, settings: SileroTtsSettings) -> None:
        """Speak otherwise from the next utterance on. Raises GraphError if the model has no such speaker."""
        changed = {lang: settings.single(lang) for lang in self._voices}
        speakers = {lang: _speaker_of(changed[lang], voice.lease, voice.file) for lang, voice in self._voices.items()}
        for lang, voice in self._voices.items():
            voice.settings, voice.speaker = changed[lang], speakers[lang]
        super().change_settings(settings)

    async def stop(self) -> None:
        """Silence, and give the models back."""
        await super().stop()
        for voice in self._voices.values():
            voice.lease.release()
            if voice.accentor is not None:
                voice.accentor.release()
        self._voices = {}

    async def synthesise(self, frame: TranslationFrame) -> AsyncIterator[Samples]:
        """Speak sentence by sentence. See :meth:`SpeechElement.synthesise`."""
        voice = self._voices.get(frame.target_lang) or next(iter(self._voices.values()), None)
        if voice is None:
            raise RuntimeError(f"{self.context.name} was not started")
        lease, settings, speaker = voice.lease, voice.settings, voice.speaker
        options = {name: getattr(settings, name) for name in ("put_accent", "put_yo", "put_stress_homo", "put_yo_homo")}
        pause = np.zeros(settings.rate_hz * settings.pause_ms // 1000, np.float32)
        spoke = False
        # Preparing ten thousand characters takes half a second, so it does not happen on the loop.
        symbols, longest = lease.info["symbols"], settings.max_chars or lease.info["max_chars"]
        sentences, lost = await asyncio.to_thread(
            _sentences, frame.text, settings.language, symbols, longest, self._lexicon
        )
        if lost:
            self._warn(frame, f"the voice has no way to say {lost!r}; the rest is spoken")
        # Somebody waits for the first sound; a file does not.
        early = begin_early(sentences[0]) if self.context.live and settings.begin_early and sentences else []
        for at, sentence in enumerate([*early, *sentences[1:]] if early else sentences):
            if voice.accentor is not None:
                [marked] = await voice.accentor.submit([stress.Unmarked(sentence, options)])
                if isinstance(marked, Exception):
                    raise marked
                sentence = marked
            item = silero.Utterable(sentence, speaker, settings.rate_hz, options, settings.rate, settings.pitch)
            # The same words are not computed twice; what the model had to leave out of them is said again.
            key = (settings.language, item.text, speaker, item.rate_hz, item.rate, item.pitch, *options.items())
            outcome = self.made_before(frame, key)
            if outcome is None:
                [outcome] = await lease.submit([item])
                if isinstance(outcome, Exception):
                    raise outcome
                self.cache.put(key, outcome, outcome.samples.nbytes)
            for text, reason in outcome.skipped:
                self._warn(frame, f"the model cannot speak {text!r} ({reason}); the rest is spoken")
            if len(outcome.samples):
                if spoke and len(pause) and at >= len(early):
                    yield pause
                yield outcome.samples
                spoke = True

    def _warn(self, frame: TranslationFrame, text: str) -> None:
        data = {"utterance": frame.utterance, "text": frame.text}
        self.context.post(WarningMessage(f"utterance {frame.utterance}: {text}", data, pts_ns=frame.pts_ns))


def _sentences(text: str, lang: str, symbols: str | None, longest: int, lexicon: Lexicon) -> tuple[list[str], str]:
    """Sentences as the model reads them, none longer than it can speak, and the letters that were lost, each once."""
    prepared = prepare(lexicon.apply(text, stress=lang in STRESSED), lang)
    fitted = [fit_symbols(piece, symbols) for piece in split_text(prepared.text, longest, prepared=True)]
    sentences = [piece.text for piece in fitted if any(char.isalpha() for char in piece.text)]
    return sentences, "".join(dict.fromkeys(prepared.lost + "".join(piece.lost for piece in fitted)))


def spoken(settings: SileroTtsSettings, text: str) -> Spoken:
    """What the voice would say of a text, as far as that is known before its model is loaded."""
    symbols = settings.spoken.symbols if settings.spoken else None
    longest, lexicon = settings.max_chars or MAX_CHARS_V1, load_lexicon(settings.lexicon, Path.cwd())
    sentences, lost = _sentences(text, settings.language, symbols, longest, lexicon)
    return Spoken(" ".join(sentences), lost)


def _speaker_of(settings: SileroTtsSettings, lease: Lease[silero.Utterable, silero.Spoken], file: str) -> str:
    speakers = lease.info["speakers"]
    speaker = str(settings.speaker or (settings.speakers or speakers)[0])
    if speaker not in speakers:
        raise GraphError(f"{file} has no speaker {speaker!r}; it has {', '.join(speakers)}")
    if not lease.info["prosody"] and (settings.rate, settings.pitch) != ("medium", "medium"):
        raise GraphError(f"{file} has one rate and pitch: leave rate and pitch at medium")
    return speaker


def fetch(settings: SileroTtsSettings) -> list[Path]:
    """Have the models on this machine and check that they may be loaded; what ``tolmach fetch`` runs.

    Returns:
        Their files.

    Raises:
        ModelMissingError: If one cannot be had.
        ModelRefusedError: If the SHA-256 of one is neither pinned nor allowed.
    """
    return [files.fetch(settings.single(lang)) for lang in settings.by_language]
