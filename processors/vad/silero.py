"""``silero_vad``: the Silero model run by onnxruntime, without torch and without its own package's code."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.element import Context
from tolmach.pipelines.errors import ModelMissingError
from tolmach.processors.vad.element import VadElement, Windows, endpointing
from tolmach.processors.vad.endpointing import Endpointing, Mono
from tolmach.processors.vad.onnx import cpu_session, find_installed
from tolmach.processors.vad.spec import RATE_HZ, SileroVadSettings

WINDOW = 512
"""Samples per decision at 16 kHz, fixed by the model (32 ms)."""

CONTEXT = 64
"""Samples of the previous window that the model wants in front of each window (silero_vad/utils_vad.py)."""

OFFSET_BELOW_THRESHOLD = 0.15
"""Default hysteresis, as in the model's own ``get_speech_timestamps`` (``neg_threshold``)."""

_HOMES = (
    ("pipecat-ai", "pipecat/audio/vad/data/silero_vad.onnx"),
    ("silero-vad", "silero_vad/data/silero_vad.onnx"),  # the same file, byte for byte, in a package that brings torch
)


def model_path() -> Path:
    """Where the model lies: in the copy that pipecat bundles, or in the silero-vad distribution.

    Found by path: elements do not know pipecat, and importing silero_vad would import torch.

    Raises:
        ModelMissingError: If neither is installed.
    """
    path = find_installed(_HOMES)
    if path is None:
        raise ModelMissingError(
            "silero_vad: the model silero_vad.onnx is not installed. "
            "Run: python -m pip install --no-deps 'silero-vad>=5.1'"
        )
    return path


class SileroDetector:
    """The detector with the state it carries through one stream. Weights are shared by all of them.

    Args:
        path: The ONNX file: inputs ``input`` float32[1, 576], ``state`` float32[2, 1, 128], ``sr`` int64; outputs the
            probability float32[1, 1] and the next state.
    """

    def __init__(self, path: Path) -> None:
        self._session = cpu_session(path)
        self._rate = np.array(RATE_HZ, np.int64)
        self.restart()

    def restart(self) -> None:
        """Forget the past."""
        self._state: npt.NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self._input: npt.NDArray[np.float32] = np.zeros((1, CONTEXT + WINDOW), np.float32)

    def probability(self, window: Mono) -> float:
        """Speech probability of the next window, float32[512], 16 kHz, [-1, 1]."""
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = window
        probability, self._state = self._session.run(
            None, {"input": self._input, "state": self._state, "sr": self._rate}
        )
        return float(probability[0, 0])


class SileroVad(VadElement):
    """Runtime of ``silero_vad``."""

    def __init__(self, settings: SileroVadSettings, context: Context) -> None:
        super().__init__(settings, context, window=WINDOW)
        self._model: SileroDetector | None = None

    def parameters(self, settings: SileroVadSettings) -> Endpointing:
        """Endpointing on probabilities, with doubt."""
        offset = settings.offset_threshold
        return endpointing(
            settings,
            onset_threshold=settings.threshold,
            offset_threshold=max(settings.threshold - OFFSET_BELOW_THRESHOLD, 0.01) if offset is None else offset,
            confident_threshold=settings.confident_threshold,
            doubtful_onset_ms=settings.doubtful_onset_ms,
        )

    async def start(self) -> None:
        """Load the model, once per process, and what all detectors load.

        Raises:
            ModelMissingError: If it is not installed.
        """
        await super().start()
        if self._model is None:
            self._model = await asyncio.to_thread(SileroDetector, model_path())

    async def stop(self) -> None:
        """Let go of the model."""
        await super().stop()
        self._model = None

    def judge(self, windows: Windows) -> list[float]:
        """Speech probabilities."""
        model = self._model  # stop() may take it away while a thread is here
        assert model is not None, "process before start"  # noqa: S101 -- the engine's contract
        return [model.probability(window) for window in windows]

    def restart(self) -> None:
        """Forget the model's state."""
        if self._model is not None:
            self._model.restart()
