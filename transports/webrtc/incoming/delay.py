"""How long packets take, and how long it is worth waiting for one.

One-way delay cannot be measured without synchronised clocks; its *variation* can. The transit of a packet is its
arrival less its media time; the smallest transit of the last seconds is what an undisturbed packet takes, and what
others take more is the delay that a jitter buffer must cover.
"""

from __future__ import annotations

from collections import deque

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S

WINDOW_NS = 10 * NS_PER_S
"""Memory of the estimator. A clock that drifts by 200 ppm moves the smallest transit by 2 ms in it, which is how far
the estimate may lag; it also bounds how long one change of route weighs."""
BUCKET_NS = NS_PER_S
QUANTILE = 0.99
"""Of the delays seen, how many the target covers; the rest is concealed. One concealed frame in a hundred is not heard
with G.711 Appendix I (ITU-T G.107 gives it an equipment impairment near zero)."""
WARM_UP = 50
"""Observations (one second of packets) before the quantile is believed."""
MAX_OBSERVATIONS = 1000


class DelayEstimator:
    """Base transit, RFC 3550 jitter, and the target delay of a jitter buffer; configure it before the first packet."""

    def __init__(self) -> None:
        self._min_ns, self._max_ns, self._start_ns = 0, 0, 0
        self.target_ns = 0
        self.jitter_ns = 0.0
        self.reset()

    def configure(self, *, min_target_ns: int, max_target_ns: int, start_target_ns: int) -> None:
        """Set the bounds; what was seen of the stream is kept.

        Args:
            min_target_ns: Smallest target, ns.
            max_target_ns: Largest target, ns.
            start_target_ns: Target until enough packets were seen, ns.
        """
        self._min_ns, self._max_ns, self._start_ns = min_target_ns, max_target_ns, start_target_ns
        self.target_ns = self._clamp(self.target_ns if self._seen else start_target_ns)

    def reset(self) -> None:
        """Forget all delays; the stream starts on another timeline."""
        self._buckets: deque[tuple[int, int]] = deque()  # number of the bucket, smallest transit in it
        self._seen: deque[tuple[int, int]] = deque(maxlen=MAX_OBSERVATIONS)  # arrival, transit
        self._last_arrival_ns: int | None = None
        self._last_transit_ns = 0
        self._since_update = 0
        self._stalled = False  # whether the burst under way ends a stall
        self.base_ns = 0
        self.target_ns = self._clamp(self._start_ns)

    def add(self, media_ns: int, arrival_ns: int, duration_ns: int, *, newest: bool) -> bool:
        """Take note of a packet.

        Args:
            media_ns: Its media time, ns.
            arrival_ns: When it arrived, ns.
            duration_ns: Media it holds, ns.
            newest: Whether no packet sent after it has arrived before.

        Returns:
            Whether it arrived on its own: not in the same burst as its predecessor.
        """
        transit = arrival_ns - media_ns
        alone = True
        if self._last_arrival_ns is not None:
            # RFC 3550, 6.4.1 and A.8.
            self.jitter_ns += (abs(transit - self._last_transit_ns) - self.jitter_ns) / 16
            # A queue that empties after a stall is one event, seen in full by its first packet. Counting all its
            # packets would let one stall raise the target for seconds.
            since_ns = arrival_ns - self._last_arrival_ns
            alone = since_ns >= duration_ns // 2
            if alone:
                self._stalled = since_ns >= 3 * duration_ns
            elif not newest and not self._stalled:
                alone = True  # reordered, though nothing had stalled: worth waiting for
        self._last_arrival_ns, self._last_transit_ns = arrival_ns, transit
        self._update_base(transit, arrival_ns)
        if alone or len(self._seen) < 2:
            self._seen.append((arrival_ns, transit))
            self._update_target(arrival_ns)
        return alone

    def _update_base(self, transit: int, arrival_ns: int) -> None:
        bucket = arrival_ns // BUCKET_NS
        if self._buckets and self._buckets[-1][0] >= bucket:
            number, smallest = self._buckets[-1]
            self._buckets[-1] = (number, min(smallest, transit))
        else:
            self._buckets.append((bucket, transit))
        while self._buckets[0][0] <= bucket - WINDOW_NS // BUCKET_NS:
            self._buckets.popleft()
        self.base_ns = min(smallest for _, smallest in self._buckets)

    def _update_target(self, now_ns: int) -> None:
        self._since_update += 1
        if self._since_update < 10 and self._seen[-1][1] - self.base_ns <= self.target_ns:
            return  # sorted at most five times a second, unless a packet came too late
        self._since_update = 0
        while self._seen[0][0] < now_ns - WINDOW_NS:
            self._seen.popleft()
        delays = sorted(transit - self.base_ns for _, transit in self._seen)
        # Rounded down: however few were seen, one outlier alone does not decide.
        covered = delays[int(QUANTILE * (len(delays) - 1))] if len(delays) > 1 else 0
        if len(delays) < WARM_UP:
            covered = max(covered, self._start_ns)
        self.target_ns = self._clamp(covered)

    def _clamp(self, value_ns: int) -> int:
        return min(max(value_ns, self._min_ns), self._max_ns)

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter as in RTCP receiver reports, ms."""
        return self.jitter_ns / NS_PER_MS
