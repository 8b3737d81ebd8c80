"""A copy of a film with a dub and subtitles: nothing of the film changes, and all of it stays in time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tolmach.pipelines.errors import MediaError, OutputError
from tolmach.transports.files.mux import check, mux

RATE_HZ = 48000
FAULTS = Path(__file__).resolve().parents[3] / "shared" / "faults"
CUES = [(0.5, 1.25, "Привет,\nмир"), (2.25, 2.75, "<i>two</i>")]
FRAME_S = 0.04
FIND_ALL = {"scan_all_pmts": "1"}  # as ffmpeg does


@dataclass(frozen=True)
class Track:
    path: Path
    lang: str = "ru"
    title: str = "Translation"
    default: bool = True


def clicks(seconds: float, at_s: tuple[float, ...], rate_hz: int) -> np.ndarray:
    """Silence with a short burst at each moment, float32[n]."""
    samples = np.zeros(round(seconds * rate_hz), np.float32)
    for each in at_s:
        start, count = round(each * rate_hz), rate_hz // 50
        samples[start : start + count] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(count) / rate_hz)
    return samples


def film(path: Path, *, start_s: float = 0.0, langs: tuple[str, ...] = ("eng",), seconds: float = 3.0) -> Path:
    """A small film: a picture that changes, a click at 2 s in every sound track, all ``start_s`` late."""
    video, audio = {
        ".webm": ("libvpx", "libopus"),
        ".ts": ("mpeg2video", "aac"),
        ".avi": ("mpeg4", "mp3"),
    }.get(path.suffix, ("mpeg4", "aac"))
    with av.open(str(path), "w") as out:
        picture = out.add_stream(video, rate=25, width=64, height=48, pix_fmt="yuv420p")
        if video == "libvpx":
            picture.options = {"deadline": "realtime", "cpu-used": "8", "threads": "1"}
        if video in ("mpeg4", "mpeg2video"):
            picture.codec_context.max_b_frames = 2
        sounds: list[Any] = []
        for lang in langs:
            sounds.append(out.add_stream(audio, rate=RATE_HZ, layout="mono"))
            sounds[-1].metadata["language"] = lang
        sounds[0].disposition = Disposition.default
        out.metadata["title"] = "A film"
        packets = []
        for number in range(round(seconds * 25)):
            image = np.full((48, 64, 3), number * 7 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number + round(start_s * 25), Fraction(1, 25)
            packets += picture.encode(frame)
        packets += picture.encode(None)
        for sound in sounds:
            frame = av.AudioFrame.from_ndarray(clicks(seconds, (2.0,), RATE_HZ)[None, :], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, round(start_s * RATE_HZ), Fraction(1, RATE_HZ)
            packets += sound.encode(frame) + sound.encode(None)
        packets.sort(key=lambda p: p.dts * p.time_base)
        out.mux(packets)
    return path


def dub(folder: Path, suffix: str = ".srt") -> tuple[Track, Track]:
    """A dub with a click at 2 s, and subtitles."""
    sound, text = folder / "dub.wav", folder / f"subtitles{suffix}"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=22050, layout="mono")
        samples = (clicks(3.0, (2.0,), 22050) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 22050
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

    def clock(seconds: float) -> str:
        mark = "," if suffix == ".srt" else "."
        return f"00:00:{seconds:06.3f}".replace(".", mark)

    cues = [f"{n}\n{clock(a)} --> {clock(b)}\n{said}\n" for n, (a, b, said) in enumerate(CUES, 1)]
    text.write_text("WEBVTT\n\n" * (suffix == ".vtt") + "\n".join(cues), encoding="utf-8")
    return Track(sound), Track(text, default=False)


def packets(path: Path, kind: str) -> list[list[tuple[Fraction | None, str]]]:
    """Time and digest of every packet of the tracks of a kind, in the order of each track."""
    with av.open(str(path), options=FIND_ALL) as container:
        found: dict[int, list[tuple[Fraction | None, str]]] = {s.index: [] for s in container.streams if s.type == kind}
        for packet in container.demux():
            if packet.size and packet.stream_index in found:
                time = None if packet.pts is None else packet.pts * packet.time_base
                found[packet.stream_index].append((time, hashlib.sha256(bytes(packet)).hexdigest()))
    return list(found.values())


def click_s(path: Path, track: int) -> float:
    """When the click is heard in a sound track, s from the start of the container's picture."""
    with av.open(str(path), options=FIND_ALL) as container:
        zero = min(s.start_time * s.time_base for s in container.streams.video) if container.streams.video else 0
        for frame in container.decode(audio=track):
            assert frame.pts is not None
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).max(axis=0) > 0.2)
            if len(loud):
                return float(frame.pts * frame.time_base - zero) + loud[0] / frame.sample_rate
    raise AssertionError("no click")


def picture_s(path: Path) -> float:
    """How long after the earliest track, which is time 0 of a dub, the picture begins, s."""
    with av.open(str(path), options=FIND_ALL) as container:
        video = container.streams.video[0]
        return float(video.start_time * video.time_base - Fraction(container.start_time, av.time_base))


def cues(path: Path) -> list[tuple[float, float, str]]:
    """The last subtitles of a file, by libav's decoder."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[-1]
        zero = min(s.start_time * s.time_base for s in container.streams.video)
        for packet in container.demux(stream):
            for shown in packet.decode():
                said = shown.dialogue.decode().replace("\\N", "\n").replace("{\\i1}", "<i>").replace("{\\i0}", "</i>")
                start = float(packet.pts * packet.time_base - zero)
                found.append((round(start, 3), round(start + float(packet.duration * packet.time_base), 3), said))
    return [each for each in found if each[2]]


CONTAINERS = [".mp4", ".mov", ".mkv", ".webm"]


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("start_s", [0.0, 1.0])
def test_a_film_gets_a_dub_and_subtitles(tmp_path: Path, suffix: str, start_s: float) -> None:
    source = film(tmp_path / f"film{suffix}", start_s=start_s, langs=("eng", "fra"))
    before = source.read_bytes()
    sound, text = dub(tmp_path)
    target = tmp_path / f"copy{suffix}"
    assert check(source, target, [sound], [text]) == ""
    assert mux(source, target, [sound], [text], overwrite=False) == []

    assert source.read_bytes() == before
    assert [p[1] for p in packets(target, "video")[0]] == [p[1] for p in packets(source, "video")[0]]
    times = [[p[0] for p in packets(path, "video")[0]] for path in (source, target)]
    assert all(abs(a - b) < Fraction(1, 500) for a, b in zip(*times, strict=True) if a is not None and b is not None)
    for mine, theirs in zip(packets(target, "audio"), packets(source, "audio"), strict=False):
        assert [p[1] for p in mine] == [p[1] for p in theirs]
    with av.open(str(target)) as container:
        audio, subtitles = container.streams.audio, container.streams.subtitles
        assert [s.language for s in (*audio, *subtitles)] == ["eng", "fra", "rus", "rus"]
        assert [bool(s.disposition & Disposition.default) for s in audio] == [False, False, True]
        title = {**audio[2].metadata}.get("title") or audio[2].metadata["handler_name"]
        assert title == "Translation"
        assert container.metadata["title"] == "A film"
    zero_s = picture_s(source)
    assert click_s(target, 2) == pytest.approx(2.0 - zero_s, abs=FRAME_S / 4)
    assert click_s(target, 0) == pytest.approx(click_s(source, 0), abs=FRAME_S / 4)
    got = cues(target)
    plain = suffix in (".mp4", ".mov")
    want = [(a, b, said.replace("<i>", "").replace("</i>", "") if plain else said) for a, b, said in CUES]
    assert [c[2] for c in got] == [c[2] for c in want]
    for mine, theirs in zip(got, want, strict=True):
        assert mine[:2] == pytest.approx((theirs[0] - zero_s, theirs[1] - zero_s), abs=0.002)


def test_subtitles_may_be_webvtt(tmp_path: Path) -> None:
    source = film(tmp_path / "film.webm")
    sound, text = dub(tmp_path, ".vtt")
    mux(source, tmp_path / "copy.webm", [sound], [text], overwrite=False)
    assert [c[2] for c in cues(tmp_path / "copy.webm")] == [c[2] for c in CUES]


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv")
    sound, text = dub(tmp_path)
    for name in ("a.mkv", "b.mkv", "a.mp4", "b.mp4"):
        mux(source, tmp_path / name, [sound], [text], overwrite=False)
    for suffix in ("mkv", "mp4"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_subtitles_alone_are_shown_and_the_sound_stays_as_it_was(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv")
    _, text = dub(tmp_path)
    mux(source, tmp_path / "copy.mkv", [], [Track(text.path)], overwrite=False)
    with av.open(str(tmp_path / "copy.mkv")) as container:
        assert container.streams.subtitles[0].disposition & Disposition.default
        assert container.streams.audio[0].disposition & Disposition.default


def test_a_film_in_a_transport_stream_keeps_its_times(tmp_path: Path) -> None:
    source = film(tmp_path / "film.ts")
    sound, _ = dub(tmp_path)
    mux(source, tmp_path / "copy.ts", [sound], [], overwrite=False)
    for kind in ("video", "audio"):  # all moved by the same little, if at all: the first packet may not be before 0
        pairs = zip(packets(source, kind)[0], packets(tmp_path / "copy.ts", kind)[0], strict=True)
        moved = {b[0] - a[0] for a, b in pairs if a[0] is not None and b[0] is not None}
        assert len(moved) == 1
        assert abs(moved.pop()) < FRAME_S
    assert [p[1] for p in packets(tmp_path / "copy.ts", "video")[0]] == [p[1] for p in packets(source, "video")[0]]
    assert click_s(tmp_path / "copy.ts", 1) == pytest.approx(2.0 - picture_s(source), abs=FRAME_S / 4)


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("film.avi", "copy.avi", r"copy\.avi: a \.avi file cannot hold more tracks; --mux-to mkv can"),
        ("film.ts", "copy.ts", r"copy\.ts: a \.ts file holds no subtitles as text; --mux-to mkv or mp4 does"),
        ("film.mp4", "copy.webm", r"copy\.webm: a \.webm file cannot hold .*mpeg4.*; try --mux-to mkv"),
    ],
)
def test_what_a_container_cannot_hold_is_told_before_anything_is_done(
    tmp_path: Path, name: str, target: str, said: str
) -> None:
    source = film(tmp_path / name)
    sound, text = dub(tmp_path)
    there = sorted(p.name for p in tmp_path.iterdir())
    missing = Track(tmp_path / "not-made-yet.wav")
    problem = check(source, tmp_path / target, [missing], [text])
    with pytest.raises(MediaError, match=said):
        mux(source, tmp_path / target, [sound], [text], overwrite=False)
    assert problem
    assert sorted(p.name for p in tmp_path.iterdir()) == there


def test_another_container_may_be_chosen(tmp_path: Path) -> None:
    source = film(tmp_path / "film.avi")
    sound, text = dub(tmp_path)
    mux(source, tmp_path / "copy.mkv", [sound], [text], overwrite=False)
    assert [p[1] for p in packets(tmp_path / "copy.mkv", "video")[0]] == [p[1] for p in packets(source, "video")[0]]
    assert click_s(tmp_path / "copy.mkv", 1) == pytest.approx(2.0, abs=FRAME_S)


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv")
    (tmp_path / "copy.mkv").write_text("mine")
    sound, text = dub(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        mux(source, tmp_path / "copy.mkv", [sound], [text], overwrite=False)
    assert (tmp_path / "copy.mkv").read_text() == "mine"


def test_a_film_that_is_cut_off_gives_what_there_is(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    sound, text = dub(tmp_path)
    mux(source, tmp_path / "copy.mkv", [sound], [text], overwrite=False)
    assert [p[1] for p in packets(tmp_path / "copy.mkv", "video")[0]] == [p[1] for p in packets(source, "video")[0]]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not here")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_ffprobe_finds_the_same(tmp_path: Path, suffix: str) -> None:
    source = film(tmp_path / f"film{suffix}")
    sound, text = dub(tmp_path)
    mux(source, tmp_path / f"copy{suffix}", [sound], [text], overwrite=False)
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(tmp_path / f"copy{suffix}")]
    done = subprocess.run(probe, capture_output=True, text=True, check=True)
    streams = json.loads(done.stdout)["streams"]
    text_codec = {".mkv": "subrip"}.get(suffix, "mov_text")
    assert [s["codec_type"] for s in streams] == ["video", "audio", "audio", "subtitle"]
    assert streams[-1]["codec_name"] == text_codec
    assert done.stderr == ""


# Recordings that went wrong for other people --------------------------------------------------------------------------


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the recordings are not here (../shared/faults)")
def test_a_stream_that_is_seen_late_is_kept(tmp_path: Path) -> None:
    source = FAULTS / "late_stream.ts"
    sound, text = dub(tmp_path)
    for name, subtitles in (("copy.mkv", [text]), ("copy.ts", [])):
        mux(source, tmp_path / name, [sound], subtitles, overwrite=False)
        with av.open(str(tmp_path / name), options=FIND_ALL) as container:
            assert (len(container.streams.video), len(container.streams.audio)) == (1, 3)
            starts = sorted(s.start_time * s.time_base for s in (*container.streams.video, *container.streams.audio))
        with av.open(str(source), options=FIND_ALL) as container:
            assert len(container.streams.audio) == 2
            video = container.streams.video[0]
            original = Fraction(container.start_time, av.time_base), video.start_time * video.time_base
        assert [p[1] for p in packets(tmp_path / name, "video")[0]] == [p[1] for p in packets(source, "video")[0]]
        # The dub begins with the earliest stream, 0.2 s before the picture.
        assert abs(float(starts[0] - original[0])) < FRAME_S
        picture = click_s(tmp_path / name, 2)
        assert picture == pytest.approx(2.0 - float(original[1] - original[0]), abs=FRAME_S)


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the recordings are not here (../shared/faults)")
def test_two_tracks_stay_two_and_the_dub_is_the_third(tmp_path: Path) -> None:
    source = FAULTS / "6-two-tracks-rus-eng.mkv"
    sound, text = dub(tmp_path)
    mux(source, tmp_path / "copy.mkv", [sound], [text], overwrite=False)
    with av.open(str(tmp_path / "copy.mkv")) as container:
        assert [s.language for s in container.streams.audio] == ["rus", "eng", "rus"]
        assert [bool(s.disposition & Disposition.default) for s in container.streams.audio] == [False, False, True]
    for mine, theirs in zip(packets(tmp_path / "copy.mkv", "audio"), packets(source, "audio"), strict=False):
        assert [p[1] for p in mine] == [p[1] for p in theirs]


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the recordings are not here (../shared/faults)")
def test_a_track_of_which_nothing_decodes_costs_no_other(tmp_path: Path) -> None:
    sound, text = dub(tmp_path)
    notes = mux(FAULTS / "media_index_error.ts", tmp_path / "copy.mkv", [sound], [text], overwrite=False)
    assert notes[0] == "copy.mkv: audio track 2 is not in the copy, as its format was not found"
    assert all("damaged packets of the original are not in the copy" in note for note in notes[1:])
    assert click_s(tmp_path / "copy.mkv", 3) == pytest.approx(2.0, abs=FRAME_S)
