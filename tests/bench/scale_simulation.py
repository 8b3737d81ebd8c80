"""How many live sessions one model can serve, reckoned: ``python -m tests.bench.scale_simulation``.

A simulation of discrete events in media time. People speak, their utterances are asked of one model host, and the
host's own scheduler takes turns and shares batches (:class:`tolmach.processors.hosting.host.ThreadHost`, the code that
serves live sessions, driven step by step without its thread). Only the clock is not real: each step of the model takes
what a :class:`Cost` says. So the tables are as good as the costs: those of the embedded phrasebook and of a full-size
model on a CPU are measured (docs/BENCHMARKS.md), those of a GPU are reckoned from the model card's throughput.

``--check`` sets the simulation beside the measured table of ``python -m tests.bench.host``: fitted to the row of one
session, it foretells the one of sixteen. The same seeds give the same tables on every machine.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.bench.accuracy import ROOT
from tolmach.processors.hosting.batches import HostRequest
from tolmach.processors.hosting.host import HostKey, ThreadHost

STEP_TOKENS = 8
"""Tokens a step of Canary's decoder makes before another caller has its turn (processors/canary/model.py)."""
PROFILES = ("conversation", "lecture", "simultaneous")
HOPELESS_S = 10.0
"""A request that has waited so long: there are more than can be served, and a run need not go on."""
LIMIT_S = 0.5
"""The p95 from an utterance's end to its text that is asked of a server."""


# What a step costs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a model takes for its steps, s.

    Attributes:
        name: Of the model and the machine.
        source: Where the numbers are from.
        encoder: For a batch of so many, the longest of so many seconds.
        token: For one token of each of a batch of so many, the longest of so many seconds.
        merge: Whether requests of several sessions share batches (``merge: true``, for GPUs).
    """

    name: str
    source: str
    encoder: Callable[[int, float], float]
    token: Callable[[int, float], float]
    merge: bool


def phrasebook_cpu(factor: float = 1.0) -> Cost:
    """The embedded model on one thread: 20, 33 and 71 ms for 3, 10 and 20 s, 0.8 ms a token (docs/BENCHMARKS.md)."""

    def encoder(count: int, longest_s: float) -> float:
        return factor * count * float(np.interp(longest_s, (0, 3, 10, 20), (0.0145, 0.020, 0.033, 0.071)))

    return Cost("phrasebook, CPU", "measured", encoder, lambda count, longest_s: factor * count * 0.0008, merge=False)


def canary_cpu() -> Cost:
    """962 million random weights on two cores: 0.61 s for 3 s and 1.9 s for 20 s, 48 ms a token of 3 s, 125 of 20 s."""

    def encoder(count: int, longest_s: float) -> float:
        return count * float(np.interp(longest_s, (1, 3, 20), (0.46, 0.61, 1.9)))

    def token(count: int, longest_s: float) -> float:
        return count * float(np.interp(longest_s, (3, 20), (0.048, 0.125)))

    return Cost("canary-1b-v2, 2 CPU cores", "measured", encoder, token, merge=False)


GPU_MS = (25.0, 0.9, 2.2, 0.02)
"""Of :func:`canary_gpu`: a pass of the encoder, a second of audio in it; a token, a row of the batch in it; ms."""


def canary_gpu(factor: float = 1.0, ms: Sequence[float] = GPU_MS) -> Cost:
    """canary-1b-v2 on a data-centre GPU. Not measured: nothing here was run on one.

    Small batches are bounded by the launching of kernels, taken as 10 us each. Counted with the embedded model, which
    runs the same code: 385 operations that are no views for an encoder of 5 layers, 81 for a token of a decoder of 3.
    So 2500 for 32 layers, 25 ms, and 216 for 8, 2.2 ms a token. To that 0.02 ms a token and row, and 0.9 ms for each
    second of audio in the batch: 32 utterances of 10 s with 40 tokens then run at 750 times real time, and the model
    card says 749.
    """

    encoder_s, audio_s, token_s, row_s = (factor * each / 1000 for each in ms)

    def encoder(count: int, longest_s: float) -> float:
        return encoder_s + audio_s * count * longest_s

    def token(count: int, longest_s: float) -> float:
        return token_s + row_s * count

    source = "reckoned" if tuple(ms) == GPU_MS else "with the costs given"
    return Cost("canary-1b-v2, one data-centre GPU", source, encoder, token, merge=True)


# Who speaks -----------------------------------------------------------------------------------------------------------


def tokens_of(seconds: float) -> int:
    """Tokens of what is said in so long: four a second, and what frames a text; at most what Canary is allowed."""
    return round(6 + 4 * seconds)


@dataclass(frozen=True)
class Speakers:
    """How the people of sessions speak.

    Attributes:
        name: In words.
        source: Where that is from.
        length_s: Draws the length of an utterance, s.
        share: How much of the time a session's speaker talks.
        asks: How often the model is asked about an utterance: 1 at its end alone, more where pauses in it begin a
            translation that is thrown away.
        every_s: In place of both: it is asked again after so much speech, s (``mode: simultaneous``, ``step_ms``).
        patient: Whether speakers wait for an answer that is late before they go on.
    """

    name: str
    source: str
    length_s: Callable[[random.Random], float]
    share: float
    asks: float = 1.0
    every_s: float | None = None
    patient: bool = False


def clip_lengths() -> list[float]:
    """Of the demonstration clips, s; Canary's are padded to a second."""
    import soundfile

    files = sorted((ROOT / "config" / "demo" / "clips").glob("*.flac"))
    return [max(1.0, soundfile.info(file).duration) for file in files]


def profiles() -> dict[str, Speakers]:
    """By name for the command line."""
    clips = clip_lengths()

    def talk(chance: random.Random) -> float:
        return min(20.0, chance.lognormvariate(np.log(6.0), 0.6))

    return {
        "clips": Speakers(
            "the bench's speakers", "measured lengths", lambda chance: chance.choice(clips), 0.65, patient=True
        ),
        "conversation": Speakers(
            "a conversation in turns", "measured lengths, assumed share", lambda chance: chance.choice(clips), 0.35, 1.5
        ),
        "lecture": Speakers("a talk, sentence by sentence", "assumed", talk, 0.85, 2.0),
        "simultaneous": Speakers("a talk, while it is spoken", "assumed", talk, 0.85, every_s=1.0),
    }


# The simulation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        length_s: Of its audio, s.
        tokens: That the answer has.
        came_s: When it was asked, s of media time.
        counts: Whether somebody waits for it.
    """

    length_s: float
    tokens: int
    came_s: float
    counts: bool


@dataclass
class Found:
    """What a run came to, s."""

    waits: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    busy_s: float = 0.0
    seconds: float = 0.0
    hopeless: bool = False

    def row(self) -> str:
        """As cells of a table: p50 and p95 of the wait and of the answer, ms; the size of batches; how busy it is."""
        if self.hopeless:
            return "falls behind | | | | |"
        waits, answers = 1000 * np.array(self.waits), 1000 * np.array(self.answers)
        cells = [f"{np.percentile(figures, p):.0f}" for figures in (waits, answers) for p in (50, 95)]
        return " | ".join([*cells, f"{np.mean(self.batches):.1f}", f"{100 * self.busy_s / self.seconds:.0f} %"])

    @property
    def p95_s(self) -> float:
        """From the end of an utterance to its text, s."""
        return float("inf") if self.hopeless else float(np.percentile(self.answers, 95))


class Simulation:
    """Sessions on one host.

    Args:
        cost: The model.
        speakers: The people.
        sessions: How many.
        seed: Of everything that is drawn.
    """

    def __init__(self, cost: Cost, speakers: Speakers, sessions: int, seed: int = 1) -> None:
        self.now_s = 0.0
        self.found = Found()
        self._cost, self._speakers = cost, speakers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._end_s = 0.0
        self._host: ThreadHost[Ask, None] = ThreadHost(HostKey("simulated", cost.name, "no device"), lambda: self)
        self._host._model = self  # loaded
        for session in range(sessions):
            chance = random.Random(f"{seed} {session}")
            self._at(chance.uniform(0, 10), lambda s=session, c=chance: self._speak(s, c))  # type: ignore[misc]

    def go(self, seconds: float) -> Found:
        """So much media time, of which the first tenth counts for nothing."""
        self._end_s = seconds
        host = self._host
        while self.now_s < seconds:
            if host._waiting and self.now_s - host._waiting[0].items[0].came_s > HOPELESS_S:
                self.found.hopeless = True
                break
            if host._begun or host._waiting:
                host._take_turn()
            else:
                self._advance(self._events[0][0])
        self.found.seconds = self.now_s
        return self.found

    def _at(self, when_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), what))

    def _advance(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, what = heapq.heappop(self._events)
            what()
        self.now_s = until_s

    # People

    def _speak(self, session: int, chance: random.Random) -> None:
        speakers = self._speakers
        length_s = speakers.length_s(chance)
        end_s = self.now_s + length_s
        pause_s = length_s * (1 / speakers.share - 1) * chance.uniform(0.5, 1.5)
        if speakers.every_s is None:
            more = int(speakers.asks - 1 + chance.random())
            for at_s in sorted(chance.uniform(0.3, 0.95) * length_s for _ in range(more)):
                self._later(session, self.now_s + at_s, at_s, tokens_of(at_s), counts=False)
            tokens = tokens_of(length_s)
        else:
            tokens = tokens_of(speakers.every_s)  # what was certain before is given, and costs one pass
            for number in range(1, int(length_s / speakers.every_s)):
                at_s = number * speakers.every_s
                self._later(session, self.now_s + at_s, at_s, tokens, counts=True)

        def over() -> None:
            self._ask(
                session, length_s, tokens, counts=True, then=lambda: self._go_on(session, chance, end_s + pause_s)
            )

        self._at(end_s, over)
        if not speakers.patient:
            self._at(end_s + pause_s, lambda: self._speak(session, chance))

    def _go_on(self, session: int, chance: random.Random, when_s: float) -> None:
        if self._speakers.patient:
            self._at(max(when_s, self.now_s), lambda: self._speak(session, chance))

    def _later(self, session: int, when_s: float, length_s: float, tokens: int, *, counts: bool) -> None:
        self._at(when_s, lambda: self._ask(session, length_s, tokens, counts=counts))

    def _ask(
        self, session: int, length_s: float, tokens: int, *, counts: bool, then: Callable[[], None] = lambda: None
    ) -> None:
        ask = Ask(max(1.0, length_s), tokens, self.now_s, counts and self.now_s > self._end_s / 10)
        request: HostRequest[Ask, None] = HostRequest([ask], self._cost.merge, session, ask.length_s, None)

        def answered(_: Any) -> None:
            if ask.counts:
                self.found.answers.append(self.now_s - ask.came_s)
            then()

        request.future.add_done_callback(answered)
        self._host._waiting.append(request)

    # The model (tolmach.processors.hosting.Model)

    @property
    def info(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def warm(self, items: Sequence[Ask] = ()) -> None:
        """Nothing."""

    def run(self, items: Sequence[Ask]) -> Generator[Mapping[int, None] | None, None, Sequence[None]]:
        """The steps of canary's model: the encoder's pass, and then eight tokens of whoever has any left."""
        self.found.batches.append(len(items))
        self.found.waits += [self.now_s - ask.came_s for ask in items if ask.counts]
        longest_s = max(ask.length_s for ask in items)
        self._spend(self._cost.encoder(len(items), longest_s))
        yield None
        left = dict(enumerate(items))
        said = 0
        while left:
            self._spend(STEP_TOKENS * self._cost.token(len(left), longest_s))
            said += STEP_TOKENS
            done = [number for number, ask in left.items() if ask.tokens <= said]
            for number in done:
                del left[number]
            if left:
                yield dict.fromkeys(done)
        return [None] * len(items)

    def _spend(self, seconds: float) -> None:
        self.found.busy_s += seconds
        self._advance(self.now_s + seconds)


# Tables ---------------------------------------------------------------------------------------------------------------

HEAD = (
    "| sessions | wait p50, ms | p95 | answer p50, ms | p95 | utterances a batch | busy |\n"
    "|---:|---:|---:|---:|---:|---:|---:|"
)


def table(cost: Cost, speakers: Speakers, counts: Sequence[int], seconds: float) -> None:
    """Print what each number of sessions comes to, and find the most that keep to the limit."""
    print(f"\n### {cost.name} ({cost.source}): {speakers.name} ({speakers.source})\n\n{HEAD}", flush=True)
    for count in counts:
        found = Simulation(cost, speakers, count).go(seconds)
        print(f"| {count} | {found.row()} |", flush=True)
        if found.p95_s > 4 * LIMIT_S:
            break
    print(f"\nMost with p95 below {1000 * LIMIT_S:.0f} ms: {most(cost, speakers, seconds)}.", flush=True)


def most(cost: Cost, speakers: Speakers, seconds: float, limit_s: float = LIMIT_S) -> int:
    """The most sessions whose p95 keeps to the limit, found by halving; 0 if one alone does not."""
    low, high = 0, 1
    while high <= 1024 and Simulation(cost, speakers, high).go(seconds).p95_s <= limit_s:
        low, high = high, 2 * high
    while high - low > max(1, low // 32):
        middle = (low + high) // 2
        if Simulation(cost, speakers, middle).go(seconds).p95_s <= limit_s:
            low = middle
        else:
            high = middle
    return low


MEASURED = {1: (25, 38), 16: (24, 44)}
"""Of docs/BENCHMARKS.md, "The model, shared", batches apart: by sessions, p50 and p95 from the end to the text, ms."""


def check(seconds: float) -> dict[int, tuple[float, float]]:
    """p50 and p95 as simulated, ms, once the model's speed is fitted to the median of one session alone."""
    speakers = profiles()["clips"]
    alone = np.median(Simulation(phrasebook_cpu(), speakers, 1).go(seconds).answers)
    cost = phrasebook_cpu(MEASURED[1][0] / 1000 / float(alone))
    found = {count: 1000 * np.array(Simulation(cost, speakers, count).go(seconds).answers) for count in MEASURED}
    return {count: (float(np.percentile(f, 50)), float(np.percentile(f, 95))) for count, f in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="media time of each run, s")
    parser.add_argument("--check", action="store_true", help="only the comparison with what was measured")
    parser.add_argument(
        "--gpu",
        type=float,
        nargs=4,
        default=GPU_MS,
        metavar="MS",
        help="what was measured of a GPU: a pass of the encoder, a second of audio in it, a token, a row in it; ms",
    )
    args = parser.parse_args()
    print("### Against what was measured\n\n| sessions | | p50, ms | p95, ms |\n|---:|---|---:|---:|")
    for count, simulated in check(max(args.seconds, 900)).items():
        print(f"| {count} | measured | {MEASURED[count][0]} | {MEASURED[count][1]} |")
        print(f"| {count} | simulated | {simulated[0]:.0f} | {simulated[1]:.0f} |", flush=True)
    if args.check:
        return
    people = profiles()
    table(phrasebook_cpu(), people["conversation"], (1, 16, 32, 64, 128), args.seconds)
    table(canary_cpu(), people["conversation"], (1, 2, 4), args.seconds)
    for name in PROFILES:
        table(canary_gpu(ms=args.gpu), people[name], (1, 16, 32, 64, 128, 256, 512), args.seconds)
    print("\n| each step of the GPU takes | p95 below | conversation | talk | talk, while it is spoken |")
    print("|---|---|---:|---:|---:|")
    for factor, limit_s in itertools.product((0.5, 1.0, 2.0), (LIMIT_S, 2 * LIMIT_S)):
        cells = [str(most(canary_gpu(factor, args.gpu), people[name], args.seconds, limit_s)) for name in PROFILES]
        print(f"| {factor:g} times as long | {limit_s:g} s | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
