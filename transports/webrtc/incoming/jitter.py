"""The jitter buffer: RTP packets in, an unbroken timeline of media, concealment and silence out.

No network, no event loop, no clock: it is driven by ``add(packet)`` and ``pull(now)``, so that tests are scripts.

It schedules instead of counting packets. The sample at media time *t* is due at ``base + t + target``: *base* is the
transit of an undisturbed packet, *target* what packets are seen to be late (:class:`DelayEstimator`). What is due and
missing is concealed and time goes on, so a loss cannot add latency, and a stall is over with the burst that ends it:
nothing downstream plays in real time yet, therefore nothing need be stretched or dropped here. The part that does play
in real time, the sender, sheds what a burst leaves there.

The schedule is a promise to those who pass audio on as it comes: it reaches them evenly. Who only listens, as a
recogniser does, gains nothing from it; for them (``paced`` off) what is in order is given at once, and the schedule
says only how long to wait for what is missing.

Media time follows arrival: a peer whose timestamps run ahead of the clock on the wall by more than ``MAX_AHEAD_NS``, or
jump there, is another timeline (it goes on where ours stands) or, if its packets are simply too many, is not believed.

When packets stop altogether it cannot be known whether the network stalls or the peer has stopped. The first
``conceal_ms`` are concealed in time; then the timeline waits ``hold_ms`` for the words that may be on their way, and
only then goes on in silence, so that an utterance behind it can end. A peer that announced silence (DTX) is not waited
for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S
from tolmach.transports.webrtc.opus import DTX_BYTES, FRAME_SAMPLES, RTP_RATE_HZ, Packet, rtp_ns, unwrap

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
    """How long packets take, and how long it is worth waiting for one; configure it before the first packet.

    One-way delay cannot be measured without synchronised clocks; its *variation* can. The transit of a packet is its
    arrival less its media time; the smallest transit of the last seconds is what an undisturbed packet takes, and what
    others take more is the delay that a jitter buffer must cover.
    """

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


MAX_DROPOUT = 3000  # RFC 3550, A.1: a minute of packets missing is a loss, more is another stream
MAX_MISORDER = 100  # RFC 3550, A.1
MAX_GAP = 10 * RTP_RATE_HZ  # a jump in time beyond this is another timeline, not silence to be filled in
MAX_AHEAD_NS = 3 * NS_PER_S
"""How far media time may be ahead of arrival. It begins with the first packet, which a stall may have delayed."""
MAX_DRIFT_PPM = 1000  # of a sender's clock against ours; sound cards keep within 200
RESTART_AFTER = 5  # packets in a row that are new, alone and too late: the sender's clock was set back
REMEMBERED = 512  # sequence numbers by which a duplicate is told from a late packet

Kind = Literal["media", "conceal", "silence"]


@dataclass(frozen=True, slots=True)
class JitterSettings:
    """Bounds of the buffer.

    Attributes:
        min_target_ms: Smallest delay given to reordering and jitter, ms.
        max_target_ms: Largest, ms; what jitters more is concealed.
        start_target_ms: Delay until a second of packets was seen, ms.
        conceal_ms: Concealment made while nothing at all arrives, ms; beyond 60 ms it would be silence.
        hold_ms: How long to wait for packets once they have stopped before going on in silence, ms.
        max_depth_ms: Most media held, ms; the oldest goes first.
        paced: Whether what is in order waits for its time too.
    """

    min_target_ms: int = 20
    max_target_ms: int = 200
    start_target_ms: int = 40
    conceal_ms: int = 60
    hold_ms: int = 1000
    max_depth_ms: int = 2000
    paced: bool = True


@dataclass(slots=True)
class JitterStats:
    """Counters since the start.

    Attributes:
        received: Packets that arrived, duplicates and late ones included.
        duplicates: Packets that had arrived before.
        late: Packets that arrived when their time had been concealed or filled.
        reordered: Packets that arrived after one sent later.
        overflowed: Packets thrown away because nobody took them in time.
        restarts: Times the sender's timeline began anew.
        discarded: Packets far outside the stream that were not followed by more like them, and those of a stream that
            runs ahead of the clock.
        lost: Packets known to be missing when their time came.
        media_samples: Samples released from packets, at 48 kHz.
        concealed_samples: Samples concealed, at 48 kHz.
        silence_samples: Samples of silence put where the peer sent none, at 48 kHz.
    """

    received: int = 0
    duplicates: int = 0
    late: int = 0
    reordered: int = 0
    overflowed: int = 0
    restarts: int = 0
    discarded: int = 0
    lost: int = 0
    media_samples: int = 0
    concealed_samples: int = 0
    silence_samples: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """The next piece of the timeline.

    Attributes:
        kind: Decode ``packet``, conceal, or be silent.
        position: Media time of its first sample, samples at 48 kHz since the first packet.
        count: Its length, samples.
        packet: The packet of ``media``.
        skip: Leading samples of the packet that were concealed already.
    """

    kind: Kind
    position: int
    count: int
    packet: Packet | None = None
    skip: int = 0


class JitterBuffer:
    """Reorders packets and releases them on a schedule that returns to its target."""

    def __init__(self, settings: JitterSettings | None = None) -> None:
        self.stats = JitterStats()
        self.delay = DelayEstimator()
        self.configure(settings or JitterSettings())
        self._packets: dict[int, tuple[int, Packet]] = {}  # unwrapped sequence number → position, packet
        self._held = 0  # samples in them
        self._recent: deque[int] = deque(maxlen=REMEMBERED)
        self._recent_set: set[int] = set()
        self._newest: int | None = None  # highest unwrapped sequence number
        self._newest_timestamp = 0  # unwrapped
        self._origin = 0  # unwrapped timestamp at position 0
        self._cursor = 0  # position of the next sample to release
        self._last_released: int | None = None  # unwrapped sequence number
        self._first_arrival_ns = 0
        self._last_arrival_ns = 0
        self._bad_sequence: int | None = None
        self._too_late = 0  # in a row, see RESTART_AFTER
        self._concealed_run = 0
        self._lagging = False
        self._silent_peer = False

    def configure(self, settings: JitterSettings) -> None:
        """Set the bounds; the stream goes on."""
        s = settings
        self.delay.configure(
            min_target_ns=s.min_target_ms * NS_PER_MS,
            max_target_ns=s.max_target_ms * NS_PER_MS,
            start_target_ns=s.start_target_ms * NS_PER_MS,
        )
        self._conceal_samples = s.conceal_ms * RTP_RATE_HZ // 1000
        self._hold_ns = s.hold_ms * NS_PER_MS
        self._max_samples = s.max_depth_ms * RTP_RATE_HZ // 1000
        self._paced = s.paced

    # In -----------------------------------------------------------------------------------------------------------

    def add(self, packet: Packet) -> None:
        """Take a packet as it arrives."""
        self.stats.received += 1
        if self._newest is None:
            self._newest, self._newest_timestamp = packet.sequence, packet.timestamp
            self._origin = packet.timestamp
            self._first_arrival_ns = packet.arrival_ns
            self._last_released = packet.sequence - 1
            sequence, timestamp = packet.sequence, packet.timestamp
            newest = True
        else:
            sequence = unwrap(packet.sequence, self._newest, 16)
            timestamp = unwrap(packet.timestamp, self._newest_timestamp, 32)
            newest = sequence > self._newest
            if not self._belongs(sequence, timestamp, packet.arrival_ns):
                if packet.sequence != self._bad_sequence:
                    # RFC 3550, A.1: one such packet may be a stray; two in a row are a sender that began anew.
                    self._bad_sequence = (packet.sequence + 1) & 0xFFFF
                    self.stats.discarded += 1
                    return
                self._restart(sequence, timestamp)
                newest = True
                if self._runs_ahead(self._cursor, packet.arrival_ns):
                    self.stats.discarded += 1
                    return
            if sequence in self._recent_set:
                self.stats.duplicates += 1
                return
        self._bad_sequence = None
        self._remember(sequence)
        self._last_arrival_ns = max(self._last_arrival_ns, packet.arrival_ns)
        position = timestamp - self._origin
        alone = self.delay.add(rtp_ns(position), packet.arrival_ns, rtp_ns(packet.duration), newest=newest)
        if newest:
            self._newest, self._newest_timestamp = sequence, timestamp
        else:
            self.stats.reordered += 1
        if position + packet.duration <= self._cursor:
            self.stats.late += 1
            self._too_late += newest and alone
            if self._too_late < RESTART_AFTER:
                return
            self._restart(sequence, timestamp)
            self._remember(sequence)
            position = self._cursor
            self.delay.add(rtp_ns(position), packet.arrival_ns, rtp_ns(packet.duration), newest=True)
        self._too_late = 0
        self._keep(sequence, position, packet)

    def _belongs(self, sequence: int, timestamp: int, arrival_ns: int) -> bool:
        newest = self._newest
        assert newest is not None  # noqa: S101 -- the caller saw a packet before
        position = timestamp - self._origin
        return (
            -MAX_MISORDER <= sequence - newest <= MAX_DROPOUT
            and abs(position - self._cursor) <= MAX_GAP
            and not self._runs_ahead(position, arrival_ns)
        )

    def _runs_ahead(self, position: int, arrival_ns: int) -> bool:
        """Whether what arrives now was captured later than it can have been."""
        elapsed_ns = arrival_ns - self._first_arrival_ns
        return rtp_ns(position) > elapsed_ns + MAX_AHEAD_NS + elapsed_ns * MAX_DRIFT_PPM // 1_000_000

    def _restart(self, sequence: int, timestamp: int) -> None:
        """The sender's timeline begins anew: it goes on where ours stands."""
        self.stats.restarts += 1
        self.stats.overflowed += len(self._packets)
        self._packets.clear()
        self._held = 0
        self._recent.clear()
        self._recent_set.clear()
        self._newest, self._newest_timestamp = sequence, timestamp
        self._origin = timestamp - self._cursor
        self._last_released = sequence - 1
        self._too_late = 0
        self._lagging = False
        self.delay.reset()

    def _remember(self, sequence: int) -> None:
        if len(self._recent) == REMEMBERED:
            self._recent_set.discard(self._recent[0])
        self._recent.append(sequence)
        self._recent_set.add(sequence)

    def _keep(self, sequence: int, position: int, packet: Packet) -> None:
        self._packets[sequence] = (position, packet)
        self._held += packet.duration
        while len(self._packets) > 1 and self._held > self._max_samples:
            self._forget(min(self._packets))
            self.stats.overflowed += 1

    def _forget(self, sequence: int) -> None:
        _, packet = self._packets.pop(sequence)
        self._held -= packet.duration

    # Out ----------------------------------------------------------------------------------------------------------

    def due_ns(self) -> int | None:
        """When :meth:`pull` will next give something, should nothing arrive until then, ns; None before the start."""
        plan = self._plan()
        return plan[0] if plan else None

    def pull(self, now_ns: int) -> Release | None:
        """The next piece of the timeline, or None when it is not due yet. Call it until it gives None."""
        plan = self._plan()
        if plan is None or plan[0] > now_ns:
            return None
        _, sequence, release = plan
        stats = self.stats
        self._cursor = release.position + release.count
        if release.packet is not None:
            stats.media_samples += release.count
            self._drop_passed(sequence)
            self._silent_peer = len(release.packet.payload) <= DTX_BYTES
            if self._lagging and self._deadline_ns(self._cursor) >= now_ns:
                self._lagging = False
            self._concealed_run = 0
        elif release.kind == "conceal":
            stats.concealed_samples += release.count
            self._concealed_run += release.count
            if not self._packets and self._concealed_run >= self._conceal_samples:
                self._lagging = True
        else:
            stats.silence_samples += release.count
        return release

    def _plan(self) -> tuple[int, int, Release] | None:
        """What comes next: when it is due, ns; its sequence number; the release."""
        if self._newest is None:
            return None
        due_ns = self._deadline_ns(self._cursor)
        if self._packets:
            sequence = min(self._packets)
            position, packet = self._packets[sequence]
            gap = position - self._cursor
            # In sequence but later in time: the peer was silent. A number is missing: its packet is.
            missing = gap > 0 and sequence - 1 != self._last_released
            if not self._paced and not missing:
                due_ns = min(due_ns, packet.arrival_ns)
            if gap <= 0:
                return due_ns, sequence, Release("media", self._cursor, packet.duration + gap, packet, -gap)
            if self._lagging and missing:
                # The burst that ends a stall may come reordered: what it lacks gets the usual time from now on.
                due_ns = max(due_ns, packet.arrival_ns + self.delay.target_ns)
            return due_ns, -1, Release("conceal" if missing else "silence", self._cursor, min(FRAME_SAMPLES, gap))
        if self._silent_peer:
            return due_ns, -1, Release("silence", self._cursor, FRAME_SAMPLES)
        if not self._lagging:
            return due_ns, -1, Release("conceal", self._cursor, FRAME_SAMPLES)
        due_ns = max(due_ns, self._last_arrival_ns) + self._hold_ns
        return due_ns, -1, Release("silence", self._cursor, FRAME_SAMPLES)

    def _deadline_ns(self, position: int) -> int:
        return self.delay.base_ns + rtp_ns(position) + self.delay.target_ns

    def _drop_passed(self, sequence: int) -> None:
        """Forget the packet just released and those whose time it covered."""
        if self._last_released is not None:
            self.stats.lost += max(0, sequence - self._last_released - 1)
        self._last_released = sequence
        self._forget(sequence)
        for other in [s for s, (at, packet) in self._packets.items() if at + packet.duration <= self._cursor]:
            self._forget(other)
            self.stats.late += 1

    # State --------------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Media time of the next sample to be released, samples at 48 kHz."""
        return self._cursor

    @property
    def depth_ms(self) -> float:
        """Media that waits here, ms."""
        return self._held * 1000 / RTP_RATE_HZ

    def media_ns(self, now_ns: int) -> int:
        """Media time that an undisturbed packet arriving now would begin with, ns: "now" on the peer's clock."""
        return now_ns - self.delay.base_ns
