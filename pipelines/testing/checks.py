"""Public checks for element authors, in the spirit of GstHarness: does this element keep the contract?

A plug-in's whole test can be::

    async def test_gain() -> None:
        await check_element(SPEC, {"gain_db": 6})

Every built-in passes the same checks (``tests/contract``). A broken rule is an :class:`AssertionError` whose text
tells the author what to do.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tolmach.pipelines.caps import Caps, Scalar
from tolmach.pipelines.describe.reference import example_settings
from tolmach.pipelines.element import ElementSpec, Pad, Settings, SourceElement, is_live_setting
from tolmach.pipelines.frames import Frame
from tolmach.pipelines.registry import load_runtime
from tolmach.pipelines.testing.harness import (
    Harness,
    StreamRules,
    is_guess,
    make_frames,
    private_copy,
    rechunk,
    renumbered,
    same_frames,
    scenarios,
    with_guesses,
    without_chunking,
)
from tolmach.pipelines.testing.spec_checks import HEAVY_MODULES, check_spec

__all__ = ["HEAVY_MODULES", "check_element", "check_spec"]

CHUNKINGS_MS = (20, 37)  # 37 divides neither a VAD window nor a codec frame
SOURCE_FRAMES = 200  # after so many frames a source is asked to finish; endless ones exist
TEST_SINK_PADS = TEST_SRC_PADS = 2  # how many pads are made from a request template

T = TypeVar("T")
Frames = Sequence[Frame] | Mapping[str, Sequence[Frame]]


async def check_element(
    spec: ElementSpec,
    settings: Mapping[str, Any] | Settings | None = None,
    *,
    frames: Frames | None = None,
    caps: Mapping[str, Caps | str] | None = None,
    timeout_s: float = 120.0,
) -> dict[str, int]:
    """Check an element against the contract, alone, with media made from the caps of its sink pads.

    The rules of the spec (:func:`check_spec`) come first. Then the runtime: ``stop`` is safe without ``start``, twice
    and in the middle of a stream; a started-again element works as a new one; ``drain`` lets nothing open; frames agree
    with the caps of the pad they leave by; media time grows; no input is written to; no task is left behind; a
    cancelled run leaves no file; and the output is the same to the bit however the audio is chunked, and with or
    without pauses and speculative texts in between.

    Relative paths in settings lie in a temporary folder. Several sink pads are fed one after the other.

    Args:
        spec: The element's spec.
        settings: Settings to check it with; the defaults, or those of its example, when None.
        frames: Input for its sink pad (by pad name if it has several) instead of what the caps suggest.
        caps: Negotiated caps by pad name, instead of what the pads suggest; give them together with ``frames``.
        timeout_s: Longest that one step may take before it counts as hung, s.

    Returns:
        How many frames left by each src pad in all; a transform that is 0 there was given nothing it works on.

    Raises:
        AssertionError: If a rule is broken; the text tells the author what to do.
    """
    chosen = _settings(spec, settings)
    check_spec(spec, chosen)
    runtime = load_runtime(spec)
    pads = _make_pads(spec.pads_for(chosen))
    sinks = [p for p in pads if p.direction == "sink"]
    if issubclass(runtime, SourceElement) != (not sinks):
        raise AssertionError(
            f"{spec.type}: an element without sink pads, and no other, derives from SourceElement; check {spec.build}"
        )
    pushed = {p.name: 0 for p in pads if p.direction == "src"}
    for negotiated in _negotiations(pads, caps):
        streams = _streams(spec, sinks, negotiated, frames)
        check = _Check(spec, chosen, pads, negotiated, timeout_s)
        await check.lifecycle(streams)
        await check.output(streams)
        pushed = {name: count + check.pushed.get(name, 0) for name, count in pushed.items()}
    return pushed


class _Check:
    """One element with one set of caps."""

    def __init__(
        self, spec: ElementSpec, settings: Settings, pads: Sequence[Pad], caps: Mapping[str, Caps], timeout_s: float
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.pads = pads
        self.caps = caps
        self.timeout_s = timeout_s
        self.before: set[asyncio.Task[Any]] = set()
        self.pushed: dict[str, int] = {}

    def harness(self, folder: str) -> _Watched:
        self.before = asyncio.all_tasks()
        return _Watched(self.spec, self.settings, self.pads, self.caps, Path(folder))

    async def lifecycle(self, streams: Mapping[str, Sequence[Frame]]) -> None:
        """``stop`` at every moment, and a start after it."""
        with tempfile.TemporaryDirectory() as folder:
            harness = self.harness(folder)
            await self.stop(harness, "without start()")
            await self.stop(harness, "twice, without start()")
            await self.within(harness, harness.element.start(), "start()")
            latency = harness.element.latency_ns
            self.require(isinstance(latency, int) and latency >= 0, f"latency_ns must be an int >= 0, not {latency!r}")
            if streams:
                await self.feed(harness, {pad: frames[: len(frames) // 2] for pad, frames in streams.items()})
                harness.element.reset(1)
                harness.element.reset(None)
            await self.stop(harness, "in the middle of a stream")
            await self.stop(harness, "twice")
            await self.no_tasks_left("after stop() in the middle of a stream")
            self.require(
                # A text that breaks off is worth keeping, under a name that says so.
                not (left := [name for name in _files(folder) if ".partial" not in name]),
                f"a cancelled run left {', '.join(left)}; write under a temporary name, or one with `.partial` for "
                "what is worth keeping, and rename it in drain()",
            )
        with tempfile.TemporaryDirectory() as folder:
            harness = self.harness(folder)
            await self.within(harness, harness.element.start(), "start()")
            await self.feed(harness, {pad: frames[: len(frames) // 2] for pad, frames in streams.items()})
            await self.stop(harness, "before a restart")
            harness.forget()
            # on_error: restart calls stop() and start() on the same instance.
            await self.within(harness, harness.element.start(), "start() after stop()")
            again = await self.finish(harness, streams, folder)
        fresh = await self.run(streams)
        # An element that numbers utterances goes on counting: a number must not come twice in one run.
        self.require(
            renumbered(again) == renumbered(fresh),
            "started again after stop() it gives another output than a new one; start() must begin afresh",
        )

    async def output(self, streams: Mapping[str, Sequence[Frame]]) -> None:
        """The same output for every chunking of the input."""
        results = [
            await self.run({pad: rechunk(frames, chunk_ms) for pad, frames in streams.items()})
            for chunk_ms in CHUNKINGS_MS
        ]
        for name in results[0]:
            self.require(
                all(r.get(name) == results[0][name] for r in results) and results[0].keys() == results[-1].keys(),
                f"output {name!r} depends on the chunking of the input ({' and '.join(map(str, CHUNKINGS_MS))} ms "
                "differ); decide by sample counts, not by frames",
            )
        # A voice must not speak what may be taken back, a file must not hold it, and a pause is no end.
        guesses = {pad: with_guesses(frames) for pad, frames in streams.items()}
        self.require(
            all(len(guesses[pad]) == len(frames) for pad, frames in streams.items())
            or await self.run(guesses) == await self.run(streams),
            "its output depends on speculative texts or pauses; pass them on, prepare what may come, or leave them, "
            "and give out only what is final",
        )
        if any(is_live_setting(self.spec.settings, name) for name in self.spec.settings.model_fields):
            await self.same_settings(streams, results[0])

    async def same_settings(self, streams: Mapping[str, Sequence[Frame]], expected: Mapping[str, Any]) -> None:
        """Told again in the middle of a stream what its settings are, it goes on as if nothing had been said."""
        halves: list[dict[str, Sequence[Frame]]] = [{}, {}]
        for pad, frames in streams.items():
            cut = rechunk(frames, CHUNKINGS_MS[0])
            halves[0][pad], halves[1][pad] = cut[: len(cut) // 2], cut[len(cut) // 2 :]
        with tempfile.TemporaryDirectory() as folder:
            harness = self.harness(folder)
            await self.within(harness, harness.element.start(), "start()")
            await self.feed(harness, halves[0])
            harness.element.change_settings(self.settings.model_copy())
            told = await self.finish(harness, halves[1], folder)
        self.require(
            told == expected,
            "change_settings() with the settings it has changes its output; adopt what differs, at the next utterance",
        )

    async def run(self, streams: Mapping[str, Sequence[Frame]]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            harness = self.harness(folder)
            await self.within(harness, harness.element.start(), "start()")
            return await self.finish(harness, streams, folder)

    async def finish(self, harness: _Watched, streams: Mapping[str, Sequence[Frame]], folder: str) -> dict[str, Any]:
        """From a started element to its end; what came out, by pad and by file."""
        try:
            if streams:
                await self.feed(harness, streams)
            else:
                await self.within(harness, harness.run(), "produce(), which was asked to finish(),")
            await self.within(harness, harness.eos(), "drain()")
            harness.ended()
            for name in harness.rules:
                self.pushed[name] = self.pushed.get(name, 0) + len(harness.output(name))
            result: dict[str, Any] = {
                p.name: without_chunking(f for f in harness.output(p.name) if not is_guess(f))
                for p in self.pads
                if p.direction == "src"
            }
        finally:
            await self.stop(harness, "after drain()")
        await self.no_tasks_left("after stop()")
        return result | _files(folder)

    async def feed(self, harness: _Watched, streams: Mapping[str, Sequence[Frame]]) -> None:
        for pad, frames in streams.items():
            mine = private_copy(frames)
            for frame in mine:
                await self.within(harness, harness.push(frame, pad=pad), f"process({type(frame).__name__})")
            self.require(
                same_frames(mine, frames), "wrote into the samples of an input frame; a tee shares them, so copy first"
            )

    async def stop(self, harness: _Watched, when: str) -> None:
        try:
            await self.within(harness, harness.stop(), f"stop() {when}")
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{self.spec.type}: stop() {when} raised {error!r}; it must be safe then") from error

    async def within(self, harness: _Watched, step: Awaitable[T], what: str) -> T:
        """Await ``step``; a step that hangs, or a spawned task that fails meanwhile, ends it."""
        try:
            async with asyncio.timeout(self.timeout_s) as harness.limit:
                return await step
        except TimeoutError as error:
            if harness.failures:
                raise harness.failures[0] from None
            if harness.limit is not None and harness.limit.expired():
                raise AssertionError(f"{self.spec.type}: {what} did not return within {self.timeout_s:g} s") from error
            raise
        finally:
            harness.limit = None

    async def no_tasks_left(self, when: str) -> None:
        for _ in range(3):  # a cancelled task needs a turn or two of the loop to end
            await asyncio.sleep(0)
        left = sorted(t.get_name() for t in asyncio.all_tasks() - self.before if not t.done())
        self.require(
            not left, f"tasks are still running {when}: {', '.join(left)}; start them with context.spawn() or end them"
        )

    def require(self, condition: bool, text: str) -> None:
        if not condition:
            raise AssertionError(f"{self.spec.type}: {text}")


class _Watched(Harness):
    """A harness that checks every frame as it is pushed."""

    def __init__(
        self, spec: ElementSpec, settings: Settings, pads: Sequence[Pad], caps: Mapping[str, Caps], folder: Path
    ) -> None:
        self._given = settings  # not by name: a setting may be called as an argument of the harness is
        super().__init__(spec, caps=caps, base_dir=folder)
        merges = sum(p.direction == "sink" for p in pads) > 1
        self._caps = {p.name: caps.get(p.name, p.caps) for p in pads if p.direction == "src"}
        self._ordered = not merges
        self._pushed = 0
        self.limit: asyncio.Timeout | None = None
        self.forget()

    def _validated(self, settings: Mapping[str, Any]) -> Settings:
        return self.spec.settings(**self._given.model_dump(exclude_unset=True))

    def forget(self) -> None:
        """Begin again with empty outputs."""
        self._output.clear()
        self.rules = {
            name: StreamRules(f"{self.spec.type}.{name}", caps, self._ordered) for name, caps in self._caps.items()
        }

    def _ended(self, task: asyncio.Task[None]) -> None:
        super()._ended(task)
        if self.failures and self.limit is not None:
            self.limit.reschedule(0.0)  # what the step waits for may never come

    def ended(self) -> None:
        """All streams are at their end."""
        for rules in self.rules.values():
            rules.end()

    async def _take(self, frame: Frame, pad: str = "src") -> None:
        if pad not in self.rules:
            raise AssertionError(
                f"{self.spec.type}: pushed to pad {pad!r}; its src pads are {', '.join(self.rules) or 'none'}"
            )
        self.rules[pad].see(frame)
        await super()._take(frame, pad)
        self._pushed += 1
        if isinstance(self.element, SourceElement) and self._pushed >= SOURCE_FRAMES:
            self.element.finish()
        # A real push may wait; an element that holds a lock or state across it must survive a turn of the loop.
        await asyncio.sleep(0)


def _files(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def _settings(spec: ElementSpec, given: Mapping[str, Any] | Settings | None) -> Settings:
    if isinstance(given, Settings):
        return given
    if given is not None:
        try:
            return spec.settings(**given)
        except ValidationError as error:
            raise AssertionError(f"{spec.type}: the settings to check it with are not valid: {error}") from error
    found = example_settings(spec)
    if found is None:
        raise AssertionError(
            f"{spec.type}: neither the defaults nor the settings of its example are valid alone; pass settings="
        )
    return found


def _make_pads(pads: Sequence[Pad]) -> list[Pad]:
    made: list[Pad] = []
    for pad in pads:
        if pad.presence == "always":
            made.append(pad)
            continue
        count = TEST_SINK_PADS if pad.direction == "sink" else TEST_SRC_PADS
        made += [
            Pad(pad.name.replace("%u", str(n)), pad.direction, pad.caps, like=pad.like, like_drop=pad.like_drop)
            for n in range(count)
        ]
    return made


def _negotiations(pads: Sequence[Pad], given: Mapping[str, Caps | str] | None) -> list[dict[str, Caps]]:
    fixed = {name: Caps.parse(c) if isinstance(c, str) else c for name, c in (given or {}).items()}
    sinks = [p for p in pads if p.direction == "sink"]
    if not sinks:
        return [{p.name: fixed.get(p.name, p.caps if p.dynamic else p.caps.fixate()) for p in pads}]
    found: list[dict[str, Caps]] = []
    # All sink pads are fed alike: the first one's alternatives are tried in turn, the others take what fits best.
    for chosen in [fixed[sinks[0].name]] if sinks[0].name in fixed else scenarios(sinks[0].caps):
        negotiated = {sinks[0].name: chosen}
        for pad in sinks[1:]:
            both = pad.caps.intersect(chosen)
            negotiated[pad.name] = fixed.get(pad.name, chosen if not both.is_empty else scenarios(pad.caps)[0])
        for pad in pads:
            if pad.direction == "src":
                negotiated[pad.name] = fixed.get(pad.name) or _src_caps(pad, chosen)
        found.append(negotiated)
    return found


def _src_caps(pad: Pad, sink: Caps) -> Caps:
    wanted: dict[str, Scalar] = {}
    for structure in sink:
        for name, _ in structure.fields:
            value = sink.value(name)
            if value is not None:
                wanted[name] = value
    if pad.like is None:
        return pad.caps if pad.dynamic else pad.caps.fixate(wanted)
    free = sink.map({}, pad.like_drop)
    if pad.caps.is_any:
        return free
    # Its own fields win over the repeated ones.
    merged = free.map({name: value for structure in pad.caps for name, value in structure.fields})
    both = merged.intersect(pad.caps)
    return (both if not both.is_empty else pad.caps).fixate(wanted)


def _streams(
    spec: ElementSpec, sinks: Sequence[Pad], caps: Mapping[str, Caps], given: Frames | None
) -> dict[str, Sequence[Frame]]:
    if given is None:
        return {p.name: make_frames(caps[p.name]) for p in sinks}
    if isinstance(given, Mapping):
        return {p.name: given.get(p.name, ()) for p in sinks}
    if len(sinks) != 1:
        raise AssertionError(f"{spec.type}: has {len(sinks)} sink pads; give frames= by pad name")
    return {sinks[0].name: given}
