"""A Silero model in memory: what it cannot speak it tells, and why.

A model file is a program. :func:`load` takes a :class:`~tolmach.processors.silero.files.Package`, whose digest was
checked, and loads the very bytes that were checked, not the file, which may have changed since.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.frames import Samples
from tolmach.processors.silero.engines import Engine, Utterable, open_file
from tolmach.processors.silero.files import Package

__all__ = ["SileroModel", "Spoken", "Utterable", "load"]

log = logging.getLogger(__name__)

_MACHINE = re.compile(
    r"CUDA|cuDNN|CUBLAS|out of memory|can't allocate memory|not enough memory|device-side assert", re.IGNORECASE
)
"""What PyTorch says when the GPU or the memory failed rather than the text: c10/cuda/CUDAException.h,
CUDACachingAllocator.cpp ("CUDA out of memory"), ATen/cudnn/Exceptions.h, c10/core/impl/alloc_cpu.cpp
("DefaultCPUAllocator: can't allocate memory")."""

_WAY_OUT = "close what else uses the device, or set device: cpu"

_SEED = 1
_WARM_UP = {"ru": "раз, два, три.", "en": "one, two, three.", "uk": "один, два, три."}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a model made of a text.

    Attributes:
        samples: float32[n], mono, [-1, 1]; empty when nothing of the text could be spoken.
        skipped: Parts of the text that could not, each with the model's own reason.
    """

    samples: Samples
    skipped: tuple[tuple[str, str], ...] = ()


def load(
    package: Package,
    lang: str,
    device: str,
    cpu_threads: int = 0,
    symbols: str | None = None,
    speakers: tuple[str, ...] = (),
) -> SileroModel:
    """Run the program in a file and move its model to a device. Blocks for seconds.

    Args:
        package: The checked file.
        lang: Language the model speaks.
        device: Resolved device.
        cpu_threads: CPU threads to compute with; 0 takes PyTorch's own number.
        symbols: What the model reads, if its file does not say.
        speakers: Who speaks, if its file does not say.

    Raises:
        ModelError: If this is no Silero model.
    """
    from tolmach.processors.hosting.torch_threads import use_threads

    use_threads(cpu_threads)
    try:
        engine = open_file(package, device, lang)
    except ModelError:
        raise
    except Exception as error:  # whatever the file's code raises
        if trouble := machine_trouble(error):
            raise ModelError(f"{package.path.name} does not fit on {device}: {trouble}; {_WAY_OUT}") from error
        raise ModelError(f"{package.path} cannot be loaded as a Silero model: {true_reason(error)}") from error
    # A file of one speaker need not name him.
    speakers = speakers or (package.path.stem,)
    return SileroModel(engine, lang, device, str(package.path), cpu_threads, symbols, speakers)


def machine_trouble(error: BaseException) -> str | None:
    """What the device or the memory has to do with an error, however deep it hides; None when it has nothing.

    Silero's packages catch every RuntimeError and raise "Model couldn't generate your text, probably it's too long" in
    its place, without naming it as the cause; Python keeps it as ``__context__``.
    """
    for each in _chain(error):
        text = str(each).partition("\n")[0]
        if isinstance(each, MemoryError) or _MACHINE.search(text):
            return text or type(each).__name__
    return None


def true_reason(error: BaseException) -> str:
    """An error's text, and that of the error it was raised over, if the two differ."""
    *_, last = _chain(error)
    own = f"{type(error).__name__}: {error}"
    if last is error:
        return own
    first_line = str(last).partition("\n")[0]
    return f"{own} (raised over {type(last).__name__}: {first_line})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__


class SileroModel:
    """A model for a model host; all methods are called from the host's thread.

    Args:
        engine: What is in the file.
        lang: Language it speaks.
        device: Where it is.
        name: What to call it in errors.
        cpu_threads: CPU threads to compute with; 0 takes PyTorch's own number.
        symbols: What it reads, if it does not say itself.
        speakers: Who speaks, if it does not say itself.
    """

    def __init__(
        self,
        engine: Engine,
        lang: str,
        device: str,
        name: str,
        cpu_threads: int = 0,
        symbols: str | None = None,
        speakers: tuple[str, ...] = (),
    ) -> None:
        self._engine = engine
        self._lang = lang
        self._device = device
        self._name = name
        self._cpu_threads = cpu_threads
        self._speakers = engine.speakers or speakers
        self._symbols = engine.symbols or symbols
        self._warm = False

    @property
    def info(self) -> Mapping[str, Any]:
        """What callers may want to know.

        ``speakers`` (tuple of names), ``symbols`` (what it can read, or None), ``prosody`` (whether it speaks faster,
        slower, higher or lower), ``max_chars`` (longest text at once) and ``device``.
        """
        return {
            "speakers": self._speakers,
            "symbols": self._symbols,
            "prosody": self._engine.has_prosody,
            "max_chars": self._engine.max_chars,
            "device": self._device,
        }

    def warm(self, items: Sequence[Utterable] = ()) -> None:
        """Speak a few words: the first run allocates and, on a GPU, chooses kernels; later calls do nothing.

        Args:
            items: Who will speak, and at which rate; their texts do not matter.

        Raises:
            ModelError: If the model cannot speak at all.
        """
        if self._warm:
            return
        letters = [c for c in self._symbols or "" if c.isalpha()]
        text = _WARM_UP.get(self._lang) or "".join(letters[:8]) or "a"
        like = items[0] if items else Utterable("", self._speakers[0], 24000)
        try:
            self._apply(replace(like, text=text))
        except Exception as error:  # whatever the packaged code raises
            if trouble := machine_trouble(error):
                raise ModelError(f"{self._device} failed under {self._name}: {trouble}; {_WAY_OUT}") from error
            raise ModelError(f"{self._name} does not speak: {true_reason(error)}") from error
        self._warm = True

    def run(self, items: Sequence[Utterable]) -> list[Spoken]:
        """Speak texts one after the other; the same text gives the same samples, whatever was spoken before it."""
        return [self._speak(item) for item in items]

    def _speak(self, item: Utterable) -> Spoken:
        """Speak a text; what cannot be spoken is halved until the words at fault stand alone.

        As long as nothing at all of a text could be spoken, the first single word that fails ends the halving, and
        what is left of it is tried once: a model that fails on everything would be asked for every word.
        """
        blocks: list[Samples] = []
        skipped: list[tuple[str, str]] = []
        parts = [item.text]  # still to be spoken, the next one last
        hopeless = False
        while parts:
            text = parts.pop()
            try:
                blocks.append(self._apply(replace(item, text=text)))
            except Exception as error:  # the packaged code raises ValueError, AttributeError and bare Exception
                # Halves of the text would fail alike, each after its own time-out, and the text was never at fault.
                if trouble := machine_trouble(error):
                    raise ModelError(f"{self._device} failed under {self._name}: {trouble}; {_WAY_OUT}") from error
                halves = None if hopeless and not blocks else _halve(text)
                if halves is None:
                    hopeless = True
                    skipped.append((text, true_reason(error)))
                else:
                    parts += reversed(halves)
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return Spoken(samples, tuple(skipped))

    def _apply(self, item: Utterable) -> Samples:
        import torch

        from tolmach.processors.hosting.torch_threads import use_threads

        use_threads(self._cpu_threads)
        # The speaker "random" and dropout-like layers draw numbers: seeded here, without touching anybody else's state.
        devices = [self._device] if self._device.startswith("cuda") else []
        # Unoptimised TorchScript: the profiling executor compiles anew for each text's length, for minutes on a GPU,
        # and its fused kernels round otherwise than the first run did.
        unoptimised = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
        with torch.inference_mode(), unoptimised, torch.random.fork_rng(devices=devices):
            torch.manual_seed(_SEED)
            audio = self._engine.speak(item)
        samples = torch.as_tensor(audio).detach().to("cpu", torch.float32).reshape(-1).numpy()
        if not np.isfinite(samples).all():
            raise ModelError("the audio holds numbers that are not finite")
        clipped: Samples = np.clip(samples, -1.0, 1.0)
        return clipped


def _halve(text: str) -> tuple[str, str] | None:
    """Both sides of the space nearest to the middle; None for a single word."""
    middle = len(text) // 2
    before, after = text.rfind(" ", 0, middle), text.find(" ", middle)
    if max(before, after) < 0:
        return None
    cut = before if after < 0 or (before >= 0 and middle - before <= after - middle) else after
    return text[:cut], text[cut + 1 :]
