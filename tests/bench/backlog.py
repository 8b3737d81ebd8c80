"""Somebody speaks for half an hour without a break, faster than the voice can say it: how far behind it falls.

Texts of the phrasebook, one to four sentences each, come at the pace of a speaker who takes a share less for each than
the voice does at its own speed, 0.3 s between two and known 0.7 s after their end. A graph of espeak_tts takes them
headless. When each is heard is worked out here from the samples that come out, not from what the voice says: a listener
hears a text when it is known and the one before it has ended. ``--minutes`` is less than half an hour; a minute takes
two seconds a row.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import tolmach
from tolmach.pipelines.bus import Message, UnspokenMessage, VoicePaceMessage
from tolmach.pipelines.embed import RunningGraph
from tolmach.pipelines.frames import (
    NS_PER_MS,
    NS_PER_S,
    AudioFrame,
    Frame,
    TranslationFrame,
    UtteranceEnd,
    UtteranceStart,
)
from tolmach.processors.phrasebook.recipe.sentences import build

GAP_NS = 300 * NS_PER_MS
HANGOVER_NS = 700 * NS_PER_MS

HEAD = (
    "| source faster than the voice | budget | texts | sentences spoken | lag median, s | 95 % | greatest "
    "| mean tempo | faster than its own |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)

GRAPH = """\
version: 1
elements:
  in: {{type: app_src, caps: "text/x-translation, lang={lang}, script={script}"}}
  tts: {{type: espeak_tts, lang: {lang}, {settings}}}
  out: {{type: app_sink}}
links: [in -> tts -> out]
"""


@dataclass
class Heard:
    """What came of the texts.

    Attributes:
        texts: How many there were, and how many sentences.
        unspoken: Utterances that were left out.
        lags_ns: How much later than its source ended each other one was heard, ns.
        told_ns: The same as the voice told it, ns.
        tempos: Tempo of each that was spoken, and how long it took, ns.
    """

    texts: Sequence[tuple[TranslationFrame, int]]
    unspoken: list[int] = field(default_factory=list)
    lags_ns: dict[int, int] = field(default_factory=dict)
    told_ns: dict[int, int] = field(default_factory=dict)
    tempos: list[tuple[float, int]] = field(default_factory=list)

    @property
    def sentences_spoken(self) -> float:
        """Share of the sentences that were heard."""
        unspoken = set(self.unspoken)
        said = sum(sentences for frame, sentences in self.texts if frame.utterance not in unspoken)
        return said / sum(sentences for _, sentences in self.texts)

    @property
    def mean_tempo(self) -> float:
        """Tempo, weighted by how much would have been said at the voice's own speed."""
        said_ns = sum(duration for _, duration in self.tempos)
        return sum(tempo * duration for tempo, duration in self.tempos) / said_ns


async def durations_ns(texts: Sequence[str], lang: str) -> list[int]:
    """How long the voice takes for each at its own speed, ns."""
    frames = [TranslationFrame(n, n * NS_PER_S, n * NS_PER_S, "en", lang, text) for n, text in enumerate(texts)]
    found: dict[int, int] = {}
    async with tolmach.open(graph(lang, "")) as running:
        async for frame in _fed(running, frames):
            if isinstance(frame, UtteranceEnd):
                found[frame.utterance] = frame.end_ns - frame.pts_ns
    return [found[frame.utterance] for frame in frames]


def graph(lang: str, settings: str) -> str:
    """The graph that speaks."""
    return GRAPH.format(lang=lang, script={"ru": "cyrl", "en": "latn"}[lang], settings=settings)


async def _fed(running: RunningGraph, frames: Sequence[TranslationFrame]) -> AsyncIterator[Frame]:
    async def feed() -> None:
        try:
            for frame in frames:
                await running.input("in").push_frame(frame)
        finally:
            await running.input("in").end()

    feeding = asyncio.create_task(feed())
    async for frame in running.output("out"):
        yield frame
    await feeding


async def speech(minutes: float, lang: str) -> list[tuple[str, int, int]]:
    """Texts, how many sentences each has, and how long it takes at the voice's own speed, ns."""
    rng = random.Random(12)
    sentences = [getattr(sentence, lang) for sentence in build()]
    counts = [rng.choice((1, 1, 2, 2, 3, 4)) for _ in range(int(minutes * 60 / 3))]
    texts = [" ".join(rng.sample(sentences, count)) for count in counts]
    return list(zip(texts, counts, await durations_ns(texts, lang), strict=True))


def spoken_by_somebody(
    said: Sequence[tuple[str, int, int]], faster: float, minutes: float, lang: str
) -> list[tuple[TranslationFrame, int]]:
    """Translations as they come from somebody who speaks that much faster than the voice, and their sentences."""
    texts: list[tuple[TranslationFrame, int]] = []
    at_ns = 0
    for number, (text, sentences, own_ns) in enumerate(said, 1):
        end_ns = at_ns + round(own_ns / faster) - GAP_NS
        frame = TranslationFrame(number, at_ns, end_ns, "en", lang, text, decided_ns=end_ns + HANGOVER_NS)
        texts.append((frame, sentences))
        at_ns = end_ns + GAP_NS
        if at_ns > minutes * 60 * NS_PER_S:
            break
    return texts


async def listen(texts: Sequence[tuple[TranslationFrame, int]], lang: str, settings: str) -> Heard:
    """Speak them, and hear when each begins."""
    heard = Heard(texts)
    known = {frame.utterance: frame for frame, _ in texts}

    def note(message: Message) -> None:
        if isinstance(message, UnspokenMessage):
            heard.unspoken.append(message.utterance)
        elif isinstance(message, VoicePaceMessage):
            heard.told_ns[message.utterance] = message.lag_ns
            tempos[message.utterance] = message.tempo

    tempos: dict[int, float] = {}
    free_ns = begun_ns = samples = 0
    async with tolmach.open(graph(lang, settings)) as running:
        running.bus.subscribe(note)
        async for frame in _fed(running, [frame for frame, _ in texts]):
            if isinstance(frame, UtteranceStart):
                source = known[frame.utterance]
                begun_ns, samples = max(free_ns, source.decided_ns or 0), 0
                heard.lags_ns[frame.utterance] = begun_ns - source.end_ns
            elif isinstance(frame, AudioFrame):
                samples += len(frame.samples)
                rate_hz = frame.rate_hz
            elif isinstance(frame, UtteranceEnd):
                took_ns = samples * NS_PER_S // rate_hz
                free_ns = begun_ns + took_ns
                tempo = tempos[frame.utterance]
                heard.tempos.append((tempo, round(took_ns * tempo)))
    return heard


def row(faster: float, budget_ms: int, heard: Heard) -> str:
    """A line of the table."""
    lags_s = sorted(lag_ns / NS_PER_S for lag_ns in heard.lags_ns.values())
    hurried = sum(duration for tempo, duration in heard.tempos if tempo > 1) / sum(d for _, d in heard.tempos)
    return (
        f"| {100 * (faster - 1):.0f} % | {f'{budget_ms / 1000:g} s' if budget_ms else 'none'} "
        f"| {len(heard.texts)} | {100 * heard.sentences_spoken:.1f} % | {statistics.median(lags_s):.1f} "
        f"| {lags_s[int(0.95 * len(lags_s))]:.1f} | {lags_s[-1]:.1f} | {heard.mean_tempo:.2f} | {100 * hurried:.0f} % |"
    )


async def table(minutes: float, lang: str, rates: Sequence[float], budgets_ms: Sequence[int]) -> None:
    """Print it."""
    said = await speech(minutes * max(rates) * 1.3, lang)
    print(f"## Speech that keeps up ({minutes:g} minutes of continuous speech, espeak_tts, {lang}, headless)\n")
    print(HEAD)
    for faster in rates:
        texts = spoken_by_somebody(said, faster, minutes, lang)
        for budget_ms in budgets_ms:
            heard = await listen(texts, lang, f"max_lag_ms: {budget_ms}")
            print(row(faster, budget_ms, heard), flush=True)
            wrong = [n for n, lag in heard.lags_ns.items() if abs(lag - heard.told_ns[n]) > NS_PER_MS]
            if wrong:
                raise SystemExit(f"the voice told other lags than were heard: utterances {wrong[:5]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backlog", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lang", choices=["ru", "en"], default="ru")
    parser.add_argument("--faster", type=float, nargs="*", default=[1.0, 1.15, 1.25, 1.35], help="shares")
    parser.add_argument("--budget-ms", type=int, nargs="*", default=[0, 10_000, 20_000])
    args = parser.parse_args()
    asyncio.run(table(args.minutes, args.lang, args.faster, args.budget_ms))


if __name__ == "__main__":
    main()
