"""Builds files with the layout and interface of Silero's of all versions, around a model small enough for a test.

The published files hold ``tts_models/model``, a pickled object whose class comes from code inside the package. Its
``apply_tts`` keeps the letters it knows and drops the rest without a word, raises ValueError when nothing is left and a
bare Exception over 1000 symbols. Here the voice is a sequence of tones, one a symbol, made with real torch, so what is
heard says which symbols arrived. As in the published files the network is TorchScript. The second version's
``apply_tts`` takes a list of texts; a file of the first is the network alone, and what is around it is the project's
``tts_utils.py``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from torch.package import package_exporter

RUSSIAN = "_~абвгдеёжзийклмнопрстуфхцчшщъыьэюя +.,!?…:;–"
ENGLISH = "_~abcdefghijklmnopqrstuvwxyz .,!?…:;–"
"""Symbols of the published models (``tokenset`` in models.yml of snakers4/silero-models)."""

SYMBOL_S = 0.02
"""Length of a symbol's tone at every rate, seconds."""

CROWDED = "ъъъ"
"""A run of letters for which the model asks more memory than there is: a true RuntimeError of PyTorch's."""

FORBIDDEN = "щщщ"
"""A run of letters the model fails on, as the real ones do on rare strings."""

_MODULE = "multi_acc_tts_package"

_CODE = """
import re
import torch

PITCH = {"x-low": 0.5, "low": 0.8, "high": 1.2, "x-high": 1.5}
SPEED = {"x-slow": 2.0, "slow": 1.5, "fast": 0.75, "x-fast": 0.5}


class Voice(torch.nn.Module):
    def __init__(self, symbols: int):
        super().__init__()
        self.pitch_hz = torch.nn.Parameter(torch.linspace(200.0, 1800.0, symbols), requires_grad=False)

    def forward(self, known: torch.Tensor, length: int, rate: int, higher: float = 1.0) -> torch.Tensor:
        time_s = higher * torch.arange(length, device=known.device) / rate
        tones = torch.sin(2 * torch.pi * self.pitch_hz[known].unsqueeze(1) * time_s)
        # A touch of noise from torch's generator: the same text sounds the same only if somebody seeds it.
        return (tones + 1e-3 * torch.rand_like(tones)).reshape(-1)


class TTSModel:
    def __init__(self, symbols, speakers, quiet):
        self.alphabet = symbols
        if not quiet:
            self.symbols = symbols
        self.speakers = speakers
        self.device = torch.device("cpu")
        self.model = torch.jit.script(Voice(len(symbols)))

    def to(self, device):
        self.model.to(device)
        self.device = device

    def apply_tts(
        self, text=None, ssml_text=None, speaker="xenia", sample_rate=48000, put_accent=True, put_yo=True{V5}
    ):
        if text is None and ssml_text is None:
            raise Exception("Both text and ssml_text are None")
        length_s, higher = {SYMBOL_S}, 1.0
        if ssml_text is not None:
            attributes, text = re.fullmatch("<speak><prosody([^>]*)>([^<]*)</prosody></speak>", ssml_text).groups()
            length_s *= SPEED[re.search('rate="([a-z-]+)"', attributes)[1]] if "rate" in attributes else 1.0
            higher = PITCH[re.search('pitch="([a-z-]+)"', attributes)[1]] if "pitch" in attributes else 1.0
        if speaker not in self.speakers:
            raise ValueError("`speaker` should be in " + ", ".join(self.speakers))
        if sample_rate not in (8000, 24000, 48000):
            raise ValueError(f"`sample_rate` should be in [8000, 24000, 48000], got {sample_rate}")
        known = [self.alphabet.index(c) for c in text.lower() if c in self.alphabet]
        if not any(self.alphabet[i].isalpha() for i in known):
            raise ValueError("Invalid text: no valid symbols")
        if len(known) > 1000:
            raise Exception("Model couldn't generate your text, probably it's too long")
        if "{FORBIDDEN}" in text.lower():
            raise AttributeError("'NoneType' object has no attribute 'group'")
        try:
            length = int(length_s * sample_rate)
            return self.speak(text, known, speaker, sample_rate, put_accent, length, higher) * {HUSH}
        except RuntimeError:
            raise Exception("Model couldn't generate your text, probably it's too long")

    def speak(self, text, known, speaker, sample_rate, put_accent, length, higher):
        if "{CROWDED}" in text.lower():
            torch.empty(1 << 60, dtype=torch.uint8)
        from silero_late import LOUDER  # imported out of the package when it first speaks

        loud = LOUDER * 0.3 + 0.1 * self.speakers.index(speaker) + (0.05 if put_accent else 0.0)
        tones = self.model(torch.tensor(known, device=self.device), length, sample_rate, higher)
        return loud * tones


class TextsModel:
    def __init__(self, symbols):
        self.symbols = symbols
        self.device = torch.device("cpu")
        self.model = torch.jit.script(Voice(len(symbols)))

    def to(self, device):
        self.model.to(device)
        self.device = device

    def apply_tts(self, texts, sample_rate=16000):
        if sample_rate not in (8000, 16000):
            raise ValueError(f"`sample_rate` should be in [8000, 16000], got {sample_rate}")
        spoken = []
        for text in texts:
            known = torch.tensor([self.symbols.index(c) for c in text.lower() if c in self.symbols], device=self.device)
            spoken.append(0.4 * self.model(known, int({SYMBOL_S} * sample_rate), sample_rate))
        return spoken


class Wrapper:  # hands on whatever it is given
    def __init__(self, model):
        self.packages = [model]

    def to(self, device):
        self.packages[0].to(device)

    def apply_tts(self, **options):
        return self.packages[0].apply_tts(**options)
"""

_V5 = ", put_stress_homo=True, put_yo_homo=True"
_HUSH = "(1 - 0.05 * (not put_yo))"
_HUSH_V5 = "(1 - 0.05 * (not put_yo) - 0.1 * (not put_stress_homo) - 0.2 * (not put_yo_homo))"
"""What is switched off is heard as a lower voice."""


def build_package(
    path: Path,
    *,
    symbols: str = RUSSIAN,
    speakers: tuple[str, ...] = ("aidar", "baya"),
    v5: bool = False,
    wrapped: bool = False,
    quiet: bool = False,
    texts: bool = False,
) -> Path:
    """Write a package to ``path``.

    Args:
        path: Where.
        symbols: What it reads.
        speakers: Who speaks.
        v5: Give ``apply_tts`` the arguments of the fifth generation.
        wrapped: Save an object that holds the model in ``packages``, as v5.5 does.
        quiet: Do not say which symbols it reads, as v5.5 may.
        texts: Give it the interface of the second version.
    """
    code = _CODE
    hush = _HUSH_V5 if v5 else _HUSH
    for name, value in {"V5": _V5 if v5 else "", "HUSH": hush, "FORBIDDEN": FORBIDDEN, "CROWDED": CROWDED}.items():
        code = code.replace(f"{{{name}}}", value)
    code = code.replace("{SYMBOL_S}", str(SYMBOL_S))
    source = path.with_suffix(".py")
    source.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(_MODULE, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    gate = package_exporter._gate_torchscript_serialization
    package_exporter._gate_torchscript_serialization = False
    try:
        spec.loader.exec_module(module)
        with package_exporter.PackageExporter(str(path)) as exporter:
            exporter.extern(["torch", "torch.**"])
            exporter.intern(_MODULE)
            exporter.save_source_string("silero_late", "LOUDER = 1.0")
            model = module.TextsModel(symbols) if texts else module.TTSModel(symbols, list(speakers), quiet)
            exporter.save_pickle("tts_models", "model", module.Wrapper(model) if wrapped else model)
    finally:
        package_exporter._gate_torchscript_serialization = gate
        del sys.modules[_MODULE]  # what is loaded later can only come out of the package
        source.unlink()
    return path


class SeedNetwork(torch.nn.Module):
    """A network of the first version: numbers of symbols in; samples, and their count at 8 kHz, out."""

    def __init__(self, symbols: int, symbol_s: float) -> None:
        super().__init__()
        self.pitch_hz = torch.nn.Parameter(torch.linspace(200.0, 1800.0, symbols), requires_grad=False)
        self.length = int(symbol_s * 16000)

    def forward(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """float32[batch, samples at 16 kHz] and int64[batch]; numbers is int64[batch, symbols]."""
        time_s = torch.arange(self.length, device=numbers.device) / 16000
        tones = 0.4 * torch.sin(2 * torch.pi * self.pitch_hz[numbers].unsqueeze(2) * time_s)
        spoken = (numbers > 1).sum(dim=1) * (self.length // 2)
        noise = torch.ones(numbers.shape[0], 5000, device=numbers.device)  # behind the end, to be cut off
        return torch.cat([tones.reshape(numbers.shape[0], -1), noise], dim=1), spoken


def build_script(path: Path, symbols: str = ENGLISH) -> Path:
    """Write a TorchScript with the layout of ``v1_lj_16000.jit`` to ``path``."""
    torch.jit.save(torch.jit.script(SeedNetwork(len(symbols), SYMBOL_S)), str(path))
    return path
