"""The three kinds of Silero files, each spoken with in its own way. One of the two places that import torch packages.

==============  ==========================================  ==========================================================
versions        file                                        how it speaks
==============  ==========================================  ==========================================================
3, 4, 5         torch package, ``tts_models/model``         ``model.apply_tts(text= | ssml_text=, speaker=, …)``
2               torch package, ``tts_models/model``         ``model.apply_tts(texts=[…], sample_rate=)``
1               TorchScript, ``torch.jit.save``             a network from symbol numbers to samples; what is around
                                                            it is ``apply_tts`` of the project's ``tts_utils.py``
==============  ==========================================  ==========================================================
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.sax.saxutils import escape, quoteattr

from tolmach.pipelines.errors import ModelError
from tolmach.processors.silero.files import Package
from tolmach.processors.silero.voices import MAX_CHARS_V1, MAX_CHARS_V3, MAX_CHARS_V5, TOKENS

__all__ = ["Engine", "ScriptEngine", "TextsEngine", "Utterable", "VoiceEngine", "declared", "engine_of", "open_file"]


@dataclass(frozen=True, slots=True)
class Utterable:
    """A prepared text and how to speak it.

    Attributes:
        text: Words and punctuation, no longer than the model can speak at once.
        speaker: Who speaks.
        rate_hz: Sample rate, Hz.
        options: Further arguments of ``apply_tts``; what this model does not know is left out.
        rate: How fast, in SSML's words (x-slow, slow, medium, fast, x-fast).
        pitch: How high, in SSML's words (x-low, low, medium, high, x-high).
    """

    text: str
    speaker: str
    rate_hz: int
    options: Mapping[str, bool] = field(default_factory=dict)
    rate: str = "medium"
    pitch: str = "medium"


class Engine(Protocol):
    """A model in memory, whatever its version. Not thread-safe."""

    @property
    def speakers(self) -> tuple[str, ...]:
        """Who speaks; empty where the file does not say."""

    @property
    def symbols(self) -> str | None:
        """What it reads; None where the file does not say."""

    @property
    def max_chars(self) -> int:
        """Longest text that it is given at once at the usual rate, characters."""

    @property
    def has_prosody(self) -> bool:
        """Whether it obeys :attr:`Utterable.rate` and :attr:`Utterable.pitch`."""

    def speak(self, item: Utterable) -> Any:
        """The samples, a tensor of any shape with one dimension longer than 1. Raises whatever the file's code does."""


class VoiceEngine:
    """A package of version 3 or later.

    Args:
        model: The object in the package.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._parameters = _parameters(model)
        self.speakers = declared(model, "speakers")
        self.symbols = "".join(declared(model, "symbols")) or None
        self.has_prosody = "ssml_text" in self._parameters
        self.max_chars = MAX_CHARS_V5 if "put_stress_homo" in self._parameters else MAX_CHARS_V3

    def speak(self, item: Utterable) -> Any:
        """See :meth:`Engine.speak`."""
        options: dict[str, Any] = {name: value for name, value in item.options.items() if name in self._parameters}
        options |= {"speaker": item.speaker, "sample_rate": item.rate_hz}
        if self.has_prosody and (item.rate, item.pitch) != ("medium", "medium"):
            return self._model.apply_tts(ssml_text=_ssml(item), **options)
        return self._model.apply_tts(text=item.text, **options)


class TextsEngine:
    """A package of version 2: one speaker, and a list of texts at a time.

    Args:
        model: The object in the package.
    """

    has_prosody = False
    max_chars = MAX_CHARS_V1

    def __init__(self, model: Any) -> None:
        self._model = model
        self._takes_speakers = "speakers" in _parameters(model)
        self.speakers = declared(model, "speakers")
        self.symbols = "".join(declared(model, "symbols")) or None

    def speak(self, item: Utterable) -> Any:
        """See :meth:`Engine.speak`."""
        options = {"speakers": [item.speaker]} if self._takes_speakers else {}
        return self._model.apply_tts(texts=[item.text], sample_rate=item.rate_hz, **options)[0]


class ScriptEngine:
    """A network of version 1: symbol numbers in, samples at one rate out.

    Args:
        network: The TorchScript.
        tokens: Its token set (:data:`tolmach.processors.silero.voices.TOKENS`).
        device: Where it is.
    """

    has_prosody = False
    max_chars = MAX_CHARS_V1
    speakers: tuple[str, ...] = ()

    def __init__(self, network: Any, tokens: str, device: str) -> None:
        self._network = network
        self._numbers = {symbol: number for number, symbol in enumerate(tokens)}
        self._end = tokens[1]
        self._device = device
        # The first two fill up and end a text; nobody may write them.
        self.symbols: str | None = tokens[2:]

    def speak(self, item: Utterable) -> Any:
        """See :meth:`Engine.speak`.

        Raises:
            ValueError: If the text holds nothing that it reads.
        """
        import torch

        kept = "".join(symbol for symbol in item.text.lower() if symbol in (self.symbols or ""))
        text = re.sub(r"\s+", " ", kept).strip()
        if not any(map(str.isalpha, text)):
            raise ValueError("the text holds no letter that this model reads")
        # The network learnt from whole sentences: without an end it babbles on.
        text += ("" if text[-1] in ".!?" else ".") + self._end
        numbers = torch.tensor([[self._numbers[symbol] for symbol in text]], dtype=torch.long, device=self._device)
        samples, lengths = self._network(numbers)
        # Lengths count samples at 8 kHz, whatever the rate of the network.
        return samples[0][: int(lengths[0]) * (item.rate_hz // 8000)]


def open_file(package: Package, device: str, lang: str) -> Engine:
    """Load a checked file and move what is in it to a device. Blocks for seconds; runs the program that it is.

    Args:
        package: The file.
        device: Resolved device.
        lang: Language that is spoken, which says the symbols of a TorchScript.

    Raises:
        ModelError: If there is no voice in it. Whatever else the file's code raises.
    """
    import torch

    if package.path.suffix == ".jit":
        tokens = TOKENS.get(lang)
        if tokens is None:
            known = ", ".join(TOKENS)
            raise ModelError(f"{package.path} names no symbols, and those of {lang!r} are not known (only {known})")
        network = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(package.content), map_location=torch.device(device)
        )
        network.eval()
        return ScriptEngine(network, tokens, device)
    from torch.package.package_importer import PackageImporter

    importer = PackageImporter(io.BytesIO(package.content))
    with torch.set_grad_enabled(torch.is_grad_enabled()):  # what its code does to the whole process is undone
        model = importer.load_pickle("tts_models", "model")
    model.to(torch.device(device))
    # The modules of a package keep their importer, to import the others from it when they are needed, and it kept the
    # whole file: 139 MiB of v5_5_ru beside the same weights in the network.
    importer.zip_reader = _WithoutWeights(importer.zip_reader)
    return engine_of(model, package)


class _WithoutWeights:
    """What of a package may be asked for when its model is loaded: code and resources, as torch's readers give them."""

    def __init__(self, reader: Any) -> None:
        names = [name for name in reader.get_all_records() if not name.startswith(".data/") or "." not in name[6:]]
        self._records: dict[str, bytes] = {name: reader.get_record(name) for name in names}

    def get_all_records(self) -> list[str]:
        return list(self._records)

    def has_record(self, name: str) -> bool:
        return name in self._records

    def get_record(self, name: str) -> bytes:
        return self._records[name]


def engine_of(model: Any, package: Package) -> Engine:
    """What speaks with the object of a package.

    Raises:
        ModelError: If it has the interface of no version.
    """
    parameters = _parameters(model)
    if {"text", "speaker", "sample_rate"} <= parameters and declared(model, "speakers"):
        return VoiceEngine(model)
    if {"texts", "sample_rate"} <= parameters:
        return TextsEngine(model)
    raise ModelError(
        f"{package.path} is no Silero voice: it has neither apply_tts(text, speaker, …) nor apply_tts(texts, …)"
    )


def declared(model: Any, name: str) -> tuple[str, ...]:
    """What a package says of itself: its object, or those in ``packages``, which that of v5.5 only wraps."""
    for each in _layers(model):
        found: Sequence[Any] | None = getattr(each, name, None)
        if found:
            return tuple(map(str, found))
    return ()


def _layers(model: Any) -> tuple[Any, ...]:
    """The object of a package, and those that it wraps."""
    held = getattr(model, "packages", None) or ()
    return (model, *(held.values() if isinstance(held, Mapping) else held))


def _parameters(model: Any) -> frozenset[str]:
    """Names of what ``apply_tts`` takes; of one that hands on whatever it is given, those of what it wraps."""
    names: set[str] = set()
    for each in _layers(model):
        found = inspect.signature(each.apply_tts).parameters if hasattr(each, "apply_tts") else {}
        names.update(found)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values()):
            break
    return frozenset(names)


def _ssml(item: Utterable) -> str:
    """The text in the mark-up that Silero reads (https://github.com/snakers4/silero-models/wiki/SSML)."""
    attributes = {"rate": item.rate, "pitch": item.pitch}
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items() if value != "medium")
    return f"<speak><prosody{written}>{escape(item.text)}</prosody></speak>"
