"""The public harness finds what it promises to find: one broken element (or spec) for each rule."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

from tolmach.pipelines.element import Element, ElementSpec, Field, Live, Pad, Settings, SourceElement
from tolmach.pipelines.errors import MediaError
from tolmach.pipelines.frames import AudioFrame, Frame, TranslationFrame, UtteranceEnd, UtterancePause, UtteranceStart
from tolmach.pipelines.testing import tone
from tolmach.pipelines.testing.checks import check_element, check_spec

PLAIN = "audio/raw, rate=16000, channels=1, segmented=false"
CUT = "audio/raw, rate=16000, channels=1, segmented=true"
TEXT = "text/x-translation, lang=ru, script=cyrl"


class None_(Settings):  # noqa: N801 -- no settings
    """Nothing to set."""


def spec(runtime: str, sink: str | None = PLAIN, src: str | None = PLAIN, **changes: Any) -> ElementSpec:
    pads = tuple(([Pad.sink(sink)] if sink else []) + ([Pad.src(src)] if src else []))
    base: dict[str, Any] = {
        "type": "probe",
        "summary": "Look.",
        "settings": None_,
        "pads": pads,
        "build": f"{__name__}:{runtime}",
    }
    return ElementSpec(**{**base, **changes})


# Sound elements -------------------------------------------------------------------------------------------------------


class Pass(Element):
    """Passes everything."""


class Delay(Element):
    """Holds one frame back and pushes it in drain()."""

    async def start(self) -> None:
        self.held: Frame | None = None

    async def process(self, frame: Frame, pad: str) -> None:
        held, self.held = self.held, frame
        if held is not None:
            await self.context.push(held)

    async def drain(self) -> None:
        if self.held is not None:
            await self.context.push(self.held)


class Endless(SourceElement):
    """Gives tone until it is told to finish."""

    async def start(self) -> None:
        self.ending = False

    def finish(self) -> None:
        self.ending = True

    async def produce(self) -> None:
        number = 0
        while not self.ending:
            await self.context.push(tone(0.01, pts_ns=number * 10_000_000))
            number += 1


@pytest.mark.parametrize(
    ("runtime", "sink", "src"),
    [
        ("Pass", PLAIN, PLAIN),
        ("Pass", CUT, CUT),
        ("Pass", TEXT, TEXT),
        ("Delay", PLAIN, PLAIN),
        ("Delay", TEXT, TEXT),
        ("Endless", None, PLAIN),
    ],
)
async def test_a_sound_element_passes(runtime: str, sink: str | None, src: str):
    assert (await check_element(spec(runtime, sink, src)))["src"] > 0


async def test_frames_and_caps_of_the_author_are_used():
    probe = spec("Pass", "video/raw", "ANY")
    with pytest.raises(AssertionError, match="cannot make video/raw frames; pass frames= and caps="):
        await check_element(probe)
    frames = [tone(0.1, rate_hz=8000)]
    pushed = await check_element(probe, frames=frames, caps={"sink": "video/raw"})
    assert pushed == {"src": 1 + 1 + 5 + 3}  # restarted and fresh, in chunks of 20 ms and of 37 ms


# Broken elements ------------------------------------------------------------------------------------------------------


class WritesInput(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, AudioFrame):
            frame.samples[:] *= 2
        await self.context.push(frame)


class WrongRate(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        await self.context.push(dataclasses.replace(frame, rate_hz=8000))


class WrongPad(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        await self.context.push(frame, "out")


class WrongLanguage(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, TranslationFrame)
        await self.context.push(dataclasses.replace(frame, target_lang="en"))


class Doubles(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        await self.context.push(dataclasses.replace(frame, samples=frame.samples.astype(np.float64)))


class Empty(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        await self.context.push(dataclasses.replace(frame, samples=frame.samples[:0]))


class NotANumber(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        await self.context.push(dataclasses.replace(frame, samples=frame.samples * np.float32("nan")))


class StuckClock(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        await self.context.push(dataclasses.replace(frame, pts_ns=7))


class NoEnd(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        if not isinstance(frame, UtteranceEnd) or frame.utterance == 1:
            await self.context.push(frame)


class NoStart(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        if not isinstance(frame, UtteranceStart):
            await self.context.push(frame)


class Unmarked(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, AudioFrame):
            await self.context.push(dataclasses.replace(frame, utterance=None))


class Marks(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        await self.context.push(UtteranceStart(1, 0))


class Hasty(Element):
    """A voice that speaks whatever text comes."""

    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, TranslationFrame) and frame.text and (frame.final or frame.speculative):
            await self.context.push(UtteranceStart(frame.utterance, frame.pts_ns))
            await self.context.push(AudioFrame(np.ones((10, 1), np.float32), 16000, frame.pts_ns, frame.utterance))
            await self.context.push(UtteranceEnd(frame.utterance, frame.pts_ns, frame.end_ns))


class Jumpy(Element):
    """Takes every pause for the end."""

    async def process(self, frame: Frame, pad: str) -> None:
        if isinstance(frame, UtterancePause):
            await self.context.push(UtteranceEnd(frame.utterance, frame.pts_ns, frame.end_ns))
            await self.context.push(UtteranceStart(frame.utterance, frame.pts_ns))
        else:
            await self.context.push(frame)


class ByFrames(Element):
    """Fades every frame in: its output depends on where frames begin."""

    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        ramp = np.linspace(0, 1, len(frame.samples), dtype=np.float32)[:, None]
        await self.context.push(dataclasses.replace(frame, samples=frame.samples * ramp))


class LeavesTask(Element):
    async def start(self) -> None:
        self.task = asyncio.create_task(asyncio.Event().wait(), name="left-behind")


class NeedsStart(Element):
    async def start(self) -> None:
        self.file: list[int] | None = []

    async def stop(self) -> None:
        self.file.clear()  # type: ignore[union-attr]


class StopsOnce(Element):
    open = True

    async def stop(self) -> None:
        if not self.open:
            raise MediaError("already closed")
        self.open = False


class RemembersAll(Element):
    """Counts for ever: after a restart it goes on where it was."""

    count = 0

    async def process(self, frame: Frame, pad: str) -> None:
        assert isinstance(frame, AudioFrame)
        self.count += len(frame.samples)
        await self.context.push(dataclasses.replace(frame, samples=frame.samples * np.float32(self.count > 9600)))


class Litters(Element):
    async def process(self, frame: Frame, pad: str) -> None:
        (self.context.base_dir / "half.wav").write_bytes(b"RIFF")


class Hangs(Element):
    async def drain(self) -> None:
        await asyncio.Event().wait()


class LosesItsTask(Element):
    """Waits for a task that has died."""

    async def process(self, frame: Frame, pad: str) -> None:
        self.context.spawn(self.work(), "work")

    async def work(self) -> None:
        raise MediaError("the disk is full")

    async def drain(self) -> None:
        await asyncio.Event().wait()


class Deaf(SourceElement):
    async def produce(self) -> None:
        number = 0
        while True:
            await self.context.push(tone(0.01, pts_ns=number * 10_000_000))
            number += 1


class GainSettings(Settings):
    gain: Live[int] = Field(1, description="How loud.")


class StartsOver(Element):
    """Takes other settings by beginning anew: what it was about to push is gone."""

    held: Frame | None = None

    async def start(self) -> None:
        self.held = None

    async def process(self, frame: Frame, pad: str) -> None:
        held, self.held = self.held, frame
        if held is not None:
            await self.context.push(held)

    async def drain(self) -> None:
        if self.held is not None:
            await self.context.push(self.held)

    def change_settings(self, settings: Settings) -> None:
        super().change_settings(settings)
        self.held = None


class NegativeLatency(Element):
    @property
    def latency_ns(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (spec("WritesInput"), "wrote into the samples of an input frame; a tee shares them, so copy first"),
        (
            spec("WrongRate"),
            "probe.src: pushed AudioFrame that is audio/raw, channels=1, rate=8000, segmented=false, but",
        ),
        (spec("WrongPad"), "pushed to pad 'out'; its src pads are src"),
        (spec("Pass", PLAIN, None), "pushed to pad 'src'; its src pads are none"),
        (spec("WrongLanguage", TEXT, TEXT), "pushed TranslationFrame that is text/x-translation, lang=en, but the pad"),
        (spec("Doubles"), r"samples must be float32\[n, channels\], not float64\[1600, 1\]"),
        (spec("Empty"), "pushed an audio frame without samples"),
        (spec("NotANumber"), "samples hold NaN or infinity"),
        (spec("StuckClock"), "pts_ns must grow: 7 ns follows 7 ns; derive it from a running sample count"),
        (spec("NoEnd", CUT, CUT), r"utterance 2 is still open after drain\(\): push its UtteranceEnd there"),
        (spec("NoStart", CUT, CUT), "audio carries utterance=1 while None is the open one"),
        (spec("Unmarked", CUT, CUT), "segmented=false, but the pad promises .*segmented=true"),
        (spec("Marks"), "utterances belong to segmented streams"),
        (spec("Hasty", TEXT, CUT), "depends on speculative texts or pauses"),
        (spec("Jumpy", CUT, CUT), "depends on speculative texts or pauses"),
        (spec("ByFrames"), r"output 'src' depends on the chunking of the input \(20 and 37 ms differ\)"),
        (spec("LeavesTask"), "tasks are still running .*: left-behind; start them with context.spawn"),
        (spec("NeedsStart"), r"stop\(\) without start\(\) raised AttributeError"),
        (spec("StopsOnce"), r"stop\(\) twice, without start\(\) raised MediaError"),
        (spec("RemembersAll"), r"started again after stop\(\) it gives another output than a new one"),
        (spec("Litters", PLAIN, None), "a cancelled run left half.wav; write under a temporary name"),
        (spec("Hangs"), r"drain\(\) did not return within 0.2 s"),
        (spec("Deaf", None, PLAIN), r"produce\(\), which was asked to finish\(\), did not return within 0.2 s"),
        (
            spec("StartsOver", settings=GainSettings),
            r"change_settings\(\) with the settings it has changes its output; adopt what differs",
        ),
        (spec("NegativeLatency"), "latency_ns must be an int >= 0, not -1"),
        (spec("Pass", None, PLAIN), "an element without sink pads, and no other, derives from SourceElement"),
        (spec("Endless", PLAIN, PLAIN), "an element without sink pads, and no other, derives from SourceElement"),
    ],
    ids=lambda value: value.build.rpartition(":")[2] if isinstance(value, ElementSpec) else "",
)
async def test_a_broken_element_is_told_what_is_wrong(broken: ElementSpec, says: str):
    with pytest.raises(AssertionError, match=says):
        await check_element(broken, timeout_s=0.2)


async def test_settings_that_are_not_valid_are_the_caller_s_to_mend():
    with pytest.raises(AssertionError, match="probe: the settings to check it with are not valid: 1 validation error"):
        await check_element(spec("Pass"), {"gain": 1})


async def test_a_task_that_fails_is_not_taken_for_a_hang():
    with pytest.raises(MediaError, match="the disk is full"):
        await check_element(spec("LosesItsTask"))


# Broken specs ---------------------------------------------------------------------------------------------------------


class Undocumented(Settings):
    """A field without a description."""

    gain_db: float = 0.0


class Unitless(Settings):
    """A number whose unit only the description knows."""

    hangover: int = Field(500, description="Silence that closes an utterance, ms.")


class Contrary(Settings):
    """Defaults out of range."""

    level_db: float = Field(3.0, le=0, description="Level, dB.")


class Thawed(Settings, frozen=False):
    """Not frozen."""


class Required(Settings):
    """Nothing works without a path."""

    path: Path = Field(description="Where.")


def required_pads(settings: Required) -> tuple[Pad, ...]:
    return (Pad.src("audio/raw"),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "Probe"}, "the type must be lower snake case"),
        ({"summary": "Look"}, "summary must be one sentence on one line that ends with a full stop; it is 'Look'"),
        ({"licence": " "}, "licence has spaces around it"),
        ({"prefetch": "a:b"}, "licence is empty; name the terms of what the element loads"),
        ({"terms": lambda settings: ()}, "terms are given and licence is empty; name them there for people"),
        ({"build": "nowhere"}, "build='nowhere' must have the form 'package.module:Name'"),
        ({"prefetch": "a:b:c", "licence": "MIT"}, "prefetch='a:b:c' must have the form"),
        ({"settings": Undocumented}, "setting 'gain_db' has no description"),
        ({"settings": Unitless}, "setting 'hangover' is in ms by its description; say so in the name: hangover_ms"),
        ({"settings": Contrary}, "the defaults are not valid together"),
        ({"settings": Thawed}, "Thawed must stay frozen and forbid unknown fields"),
        ({"example": "{type: probe, gain: 3}"}, "the example gives settings that do not exist: gain"),
        ({"example": "just run it"}, "the example must be a YAML flow mapping such as {type: probe}"),
        ({"settings": Required, "example": "{type: probe, path: }"}, "the example is not valid"),
        ({"settings": Required, "pads": required_pads}, "its pads depend on settings that have no defaults"),
        ({"pads": ()}, "an element needs at least one pad"),
        ({"pads": (Pad.sink(), Pad.src(name="sink"))}, "pad names must differ; they are sink, sink"),
        ({"pads": (Pad.sink(name="sink_%u"),)}, "pad 'sink_%u': always pads are named like 'src'"),
        ({"pads": (Pad.sink(name="sink", request=True),)}, "request pad templates like 'src_%u'"),
        ({"pads": (Pad.sink("EMPTY"),)}, "pad 'sink' allows nothing"),
        ({"pads": (Pad.sink(), Pad.src(like="sonk"))}, "pad 'src' is like 'sonk', no sink pad; they are sink"),
        ({"pads": (Pad.sink(), Pad.src(like_drop=("rate",)))}, "like_drop means nothing without like"),
        ({"pads": (Pad("sink", "sink", Pad.sink().caps, dynamic=True),)}, "dynamic is for src pads"),
        ({"live": True}, "live is for sources"),
    ],
)
def test_a_broken_spec_is_told_what_is_wrong(changes: dict[str, Any], says: str):
    with pytest.raises(AssertionError) as failure:
        check_spec(spec("Pass", **changes))
    assert says in str(failure.value)
    assert str(failure.value).startswith(f"{changes.get('type', 'probe')}: ")


def test_a_heavy_spec_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "heavy_spec.py").write_text(
        "import av\nfrom tolmach.pipelines.element import Settings\nclass S(Settings): '''None.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = __import__("heavy_spec").S
    with pytest.raises(AssertionError, match="importing its spec module heavy_spec also imports av; move that"):
        check_spec(spec("Pass", settings=settings))


@pytest.mark.parametrize("word", ["type", "on_error"])
def test_a_setting_that_a_graph_could_never_set_is_refused(word: str):
    field = (str, Field("x", description="What it does."))
    settings = create_model("Shadowed", __base__=Settings, **{word: field})
    with pytest.raises(AssertionError, match=f"setting '{word}' can never be set.*give it another name"):
        check_spec(spec("Pass", settings=settings))
