"""Audio of any rate and channels as live ends take it (mono, 48 kHz), and from there to what a client takes."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np

from tolmach.pipelines.frames import Samples
from tolmach.transports.webrtc.opus import RTP_RATE_HZ

__all__ = ["MonoConverter"]

_NOTHING: Samples = np.zeros(0, np.float32)


class MonoConverter:
    """Any rate and one or two channels to what live ends take: mono (mean of the channels), 48 kHz (swresample).

    Args:
        rate_hz: Rate of the input, Hz.
        to_hz: Rate of the output, Hz.
    """

    def __init__(self, rate_hz: int, to_hz: int = RTP_RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self.to_hz = to_hz
        self._at = 0
        self._graph = None if rate_hz == to_hz else _resampler(rate_hz, to_hz)

    def convert(self, samples: Samples) -> Samples:
        """float32[n, channels] at the input rate to float32[m] at the output's; the resampler keeps under 1 ms back."""
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
        if self._graph is None or not len(mono):
            return mono
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono)[None, :], format="flt", layout="mono")
        frame.sample_rate = self.rate_hz
        frame.time_base = Fraction(1, self.rate_hz)
        frame.pts = self._at
        self._at += len(mono)
        self._graph.push(frame)
        return self._pulled(self._graph)

    def flush(self) -> Samples:
        """What the resampler still holds, float32[m]; the stream is over."""
        if self._graph is None or not self._at:
            return _NOTHING
        self._graph.push(None)
        return self._pulled(self._graph)

    @staticmethod
    def _pulled(graph: av.filter.Graph) -> Samples:
        parts: list[Samples] = []
        while True:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):  # as much as there is, or all there will be
                return np.concatenate(parts) if parts else _NOTHING
            assert isinstance(frame, av.AudioFrame)  # noqa: S101 -- for the type checker
            parts.append(np.asarray(frame.to_ndarray(), np.float32).reshape(-1))


def _resampler(rate_hz: int, to_hz: int) -> av.filter.Graph:
    """What ``av.AudioResampler`` is, less its threads: FFmpeg would start one a core for each graph."""
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(format="flt", sample_rate=rate_hz, layout="mono", time_base=Fraction(1, rate_hz))
    target = graph.add("aformat", f"sample_fmts=flt:channel_layouts=mono:sample_rates={to_hz}")
    graph.link_nodes(source, target, graph.add("abuffersink")).configure()
    return graph
