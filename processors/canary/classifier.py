"""Which language is spoken, by a model that can do nothing else: NeMo's EncDecSpeakerLabelModel, such as AmberNet.

AmberNet (Jia et al. 2022, "AmberNet: A Compact End-to-End Model for Spoken Language Identification",
https://arxiv.org/abs/2210.15781) tells the 107 languages of VoxLingua107 apart. It has a host of its own, shared by all
graphs; what it says reaches the Canary model with the request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from nemo.collections.asr.models import EncDecSpeakerLabelModel

from tolmach.pipelines.errors import ModelError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.direction import Likelihoods
from tolmach.processors.canary.nemo_file import restore
from tolmach.processors.canary.request import LanguageRequest
from tolmach.processors.hosting import report
from tolmach.processors.hosting.torch_threads import use_threads


class LanguageClassifier:
    """A loaded classifier; all calls from one thread.

    Args:
        model: A classifier of NeMo's.
        name: What it was loaded as, for messages.
        cpu_threads: CPU threads to compute with; 0 lets PyTorch decide.

    Raises:
        ModelError: If it does not say what its classes are called, or hears another sample rate.
    """

    def __init__(self, model: Any, name: str, cpu_threads: int = 0) -> None:
        self._model = model
        self._cpu_threads = cpu_threads
        self._device = next(model.parameters()).device
        labels = (model.cfg.get("train_ds") or {}).get("labels")
        if not labels:
            raise ModelError(f"{name} does not say which languages its classes are (train_ds.labels)")
        if model.cfg.preprocessor.get("sample_rate", RATE_HZ) != RATE_HZ:
            raise ModelError(f"{name} hears {model.cfg.preprocessor.sample_rate} Hz, not {RATE_HZ}")
        self._classes = {str(label): n for n, label in enumerate(labels)}
        # What makes each answer another one: noise in the features.
        model.preprocessor.featurizer.dither = 0.0

    @property
    def info(self) -> Mapping[str, Any]:
        """Its ``languages`` and where it is."""
        return {"languages": sorted(self._classes), "device": str(self._device)}

    def warm(self, items: Sequence[LanguageRequest] = ()) -> None:
        """Classify, a second of silence if nothing else is given."""
        self.run(items or [LanguageRequest(torch.zeros(RATE_HZ).numpy(), (next(iter(self._classes)),))])

    @torch.inference_mode()
    def run(self, items: Sequence[LanguageRequest]) -> list[Likelihoods]:
        """How likely each language in question is, as if there were no others (a softmax over their logits alone).

        One utterance after the other: a result does not depend on its neighbours.
        """
        use_threads(self._cpu_threads)
        self._model.eval()
        return [self._weigh(item) for item in items]

    def _weigh(self, item: LanguageRequest) -> Likelihoods:
        signal = torch.from_numpy(item.samples)[None].to(self._device)
        length = torch.tensor([signal.shape[1]], device=self._device)
        logits, _ = self._model(input_signal=signal, input_signal_length=length)
        asked = [float(logits[0, self._classes[lang]]) for lang in item.languages]
        weights = [math.exp(logit - max(asked)) for logit in asked]
        return tuple((lang, weight / sum(weights)) for lang, weight in zip(item.languages, weights, strict=True))


def load(path: Path, device: str, cpu_threads: int = 0) -> LanguageClassifier:
    """Load a classifier from a ``.nemo`` file.

    Args:
        path: The file.
        device: ``cpu`` or ``cuda:N``.
        cpu_threads: CPU threads to compute with; 0 lets PyTorch decide.

    Raises:
        ModelError: If it is no such model.
    """
    model = restore(path, EncDecSpeakerLabelModel, report=report, called="language classifier")
    if not isinstance(model, EncDecSpeakerLabelModel):
        raise ModelError(f"{path} is a {type(model).__name__}, not a classifier (EncDecSpeakerLabelModel)")
    return LanguageClassifier(model.to(torch.device(device)), path.name, cpu_threads)
