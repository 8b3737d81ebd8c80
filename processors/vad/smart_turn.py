"""Whether a speaker has finished: Smart Turn v3.2, a small neural model that listens to the last eight seconds.

It judges intonation and wording together, in 23 languages with English and Russian among them. The model lies in the
pipecat distribution and is run by onnxruntime alone: found by path, without pipecat's code, transformers or torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tolmach.pipelines.errors import ModelMissingError
from tolmach.processors.vad.onnx import cpu_session, find_installed
from tolmach.processors.vad.spec import RATE_HZ

SECONDS = 8
"""Audio that the model hears; what is shorter is padded with silence in front."""

SAMPLES = SECONDS * RATE_HZ

MELS = 80
_FFT, _HOP = 400, 160  # 25 ms and 10 ms, as in Whisper
_HOME = ("pipecat-ai", "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx")

Mono: TypeAlias = npt.NDArray[np.float32]
"""float32[n], mono, 16 kHz, [-1, 1]."""

LogMel: TypeAlias = npt.NDArray[np.float32]
"""float32[80, 800]: bands by frames of 10 ms."""


def model_path() -> Path:
    """Where the model lies.

    Raises:
        ModelMissingError: If the distribution that brings it is not installed, or brings another one.
    """
    name, inside = _HOME
    path = find_installed([_HOME])
    if path is None:
        raise ModelMissingError(
            f"turn: smart_turn needs the model {Path(inside).name} of the package {name}, which is not there. "
            "Run: python -m pip install 'pipecat-ai>=1.14', or set turn: off"
        )
    return path


class SmartTurn:
    """The model. It has no state: each question is answered from its audio alone.

    Args:
        path: The ONNX file: input ``input_features`` float32[n, 80, 800], output the probability float32[n, 1].
    """

    def __init__(self, path: Path) -> None:
        self._session = cpu_session(path)

    def probability(self, samples: Mono) -> float:
        """Probability that who speaks has finished; ``samples`` end with a moment of silence. Blocks for 10-50 ms."""
        features = log_mel(last_seconds(samples))[None]
        return float(np.asarray(self._session.run(None, {"input_features": features})[0]).ravel()[0])


def last_seconds(samples: Mono) -> Mono:
    """The last eight seconds, float32[128000], padded with zeros in front."""
    last = samples[-SAMPLES:]
    return np.pad(last, (SAMPLES - len(last), 0)) if len(last) < SAMPLES else last


def log_mel(samples: Mono) -> LogMel:
    """Whisper's log-mel features of float32[128000], normalised first to zero mean and unit variance.

    As transformers' ``WhisperFeatureExtractor(chunk_length=8)`` gives with ``do_normalize=True``, which the model was
    trained on.
    """
    normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    padded = np.pad(normal.astype(np.float64), _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:-1]
    window = np.hanning(_FFT + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    logs = np.log10(np.maximum(power @ _mel_filters(), 1e-10)).T
    floored = np.maximum(logs, logs.max() - 8.0)
    return np.ascontiguousarray((floored + 4.0) / 4.0, np.float32)


@cache
def _mel_filters() -> npt.NDArray[np.float64]:
    """Triangular filters of equal area on Slaney's mel scale, float64[201, 80].

    Slaney, Auditory Toolbox, 1998: linear up to 1 kHz (200/3 Hz a mel), logarithmic above (27 mels a factor of 6.4).
    """
    edge_hz, edge_mel, step = 1000.0, 15.0, np.log(6.4) / 27.0
    top = edge_mel + np.log(RATE_HZ / 2 / edge_hz) / step
    mels = np.linspace(0.0, top, MELS + 2)
    corners = np.where(mels < edge_mel, mels * 200.0 / 3.0, edge_hz * np.exp(step * (mels - edge_mel)))
    bins = np.linspace(0.0, RATE_HZ / 2, _FFT // 2 + 1)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (corners[2:] - corners[:-2])
    return filters
