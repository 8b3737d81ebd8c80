"""``webrtc_vad``: the voice activity detector of WebRTC."""

from __future__ import annotations

from typing import Any

import numpy as np
import webrtcvad

from tolmach.pipelines.element import Context
from tolmach.processors.vad.element import Leveller, VadElement, Windows, endpointing
from tolmach.processors.vad.endpointing import Endpointing, Mono
from tolmach.processors.vad.spec import RATE_HZ, WebrtcVadSettings

HALF_LIFE_S = 10.0
"""How slowly a loud moment is forgotten: longer than a pause between sentences. WebRTC's detector hears a speaker 30 dB
below another without help, and takes pauses that are raised for speech (tests/bench/vad_bench.py)."""


class WebrtcVad(VadElement):
    """Runtime of ``webrtc_vad``."""

    def __init__(self, settings: WebrtcVadSettings, context: Context) -> None:
        window_s = settings.frame_ms / 1000
        leveller = Leveller(settings.max_gain_db, window_s, half_life_s=HALF_LIFE_S, hold_s=0.0, max_floor=None)
        super().__init__(
            settings,
            context,
            window=RATE_HZ * settings.frame_ms // 1000,
            leveller=leveller,
        )
        self.restart()

    def parameters(self, settings: WebrtcVadSettings) -> Endpointing:
        """Endpointing on decisions that are 0 or 1, none of them doubtful."""
        return endpointing(
            settings,
            onset_threshold=0.5,
            offset_threshold=0.5,
            confident_threshold=0.5,
            doubtful_onset_ms=settings.onset_ms,
        )

    def change_settings(self, settings: Any) -> None:
        """See :meth:`VadElement.change_settings`; the strictness changes at the next window, and forgets nothing."""
        super().change_settings(settings)
        self._vad.set_mode(settings.mode)

    def judge(self, windows: Windows) -> list[float]:
        """1.0 for speech, 0.0 for silence."""
        return [float(self._vad.is_speech(_pcm(window), RATE_HZ)) for window in windows]

    def restart(self) -> None:
        """Forget the noise statistics."""
        self._vad = webrtcvad.Vad(self.settings.mode)


def _pcm(window: Mono) -> bytes:
    """PCM S16LE of float32[n] in [-1, 1]; louder samples are clipped."""
    return bytes(np.clip(np.rint(window * 32768.0), -32768, 32767).astype("<i2"))
