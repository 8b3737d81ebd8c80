"""When each sentence of a text was said, by the aligner that lies beside canary-1b-v2 in its file.

The aligner is a CTC recogniser of its own (``timestamps_asr_model_*`` in the ``.nemo``, 0.6 billion parameters); NeMo
runs it for ``transcribe(timestamps=True)``. Here it is a model with a host of its own: only graphs that want segments
load it, and it is shared by all of them.

What is aligned is NeMo's business (:func:`get_forced_aligned_timestamps_with_external_model`, Viterbi over the text's
tokens); what is computed here is the recogniser's log-probabilities, without ``transcribe()``, which is not thread-safe
and gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from nemo.collections.asr.models import ASRModel, EncDecCTCModel
from nemo.collections.asr.parts.utils.timestamp_utils import get_forced_aligned_timestamps_with_external_model

from tolmach.pipelines.errors import ModelError
from tolmach.processors.ast import RATE_HZ
from tolmach.processors.ast.segments import WordTime, WordTimes
from tolmach.processors.canary import precision
from tolmach.processors.canary.known import ALIGNER
from tolmach.processors.canary.nemo_file import restore
from tolmach.processors.canary.request import AlignRequest
from tolmach.processors.hosting import report
from tolmach.processors.hosting.torch_threads import use_threads


class Aligner:
    """A loaded aligner; all calls from one thread.

    Args:
        model: A CTC recogniser of NeMo's.
        cpu_threads: CPU threads to compute with; 0 lets PyTorch decide.
    """

    def __init__(self, model: Any, cpu_threads: int = 0) -> None:
        self._model = model
        self._cpu_threads = cpu_threads
        self._device = next(model.parameters()).device
        model.preprocessor.featurizer.dither = 0.0
        model.preprocessor.featurizer.pad_to = 0

    @property
    def info(self) -> Mapping[str, Any]:
        """Where it is."""
        return {"device": str(self._device), "parameters": sum(p.numel() for p in self._model.parameters())}

    def warm(self, items: Sequence[AlignRequest] = ()) -> None:
        """Align, a second of silence if nothing else is given."""
        self.run(items or [AlignRequest(torch.zeros(RATE_HZ).numpy(), "a")])

    @torch.inference_mode()
    def run(self, items: Sequence[AlignRequest]) -> list[WordTimes]:
        """For each word of each text (``text.split()``) when it was said; empty where a text is too long for its audio.

        None for a word that the alignment passed over. One after the other: a result does not depend on its neighbours.
        """
        use_threads(self._cpu_threads)
        self._model.eval()
        return [self._align(item) for item in items]

    def _align(self, item: AlignRequest) -> WordTimes:
        signal = torch.from_numpy(item.samples)[None].to(self._device)
        length = torch.tensor([signal.shape[1]], device=self._device)
        logprobs, frames, _ = self._model(input_signal=signal, input_signal_length=length)
        heard = SimpleNamespace(y_sequence=logprobs[0, : int(frames[0])].float(), text="")
        text = " ".join(item.text.split())
        (found,) = get_forced_aligned_timestamps_with_external_model(
            audio=[heard],
            external_ctc_model=self._model,
            main_model_predictions=[SimpleNamespace(text=text)],
            batch_size=1,
            viterbi_device=self._device,
            timestamp_type=["word"],
            has_hypotheses=True,
            verbose=False,
        )
        words = found.timestamp["word"]
        if len(words) != len(text.split()):
            return ()
        return tuple(
            WordTime(round(word["start"] * RATE_HZ), round(word["end"] * RATE_HZ)) if word["start"] >= 0 else None
            for word in words
        )


def load(path: Path, device: str, cpu_threads: int = 0) -> Aligner:
    """Load the aligner of a ``.nemo`` file.

    Args:
        path: The file, or a folder that it was unpacked into.
        device: ``cpu`` or ``cuda:N``.
        cpu_threads: CPU threads to compute with; 0 lets PyTorch decide.

    Raises:
        ModelError: If it is not usable, or it is no CTC recogniser.
    """
    model = restore(
        path,
        ASRModel,
        ALIGNER,
        report,
        lambda weights_bytes: precision.check_main_memory(weights_bytes, precision.main_memory()),
    )
    if not isinstance(model, EncDecCTCModel):
        raise ModelError(f"the aligner of {path} is a {type(model).__name__}, not a CTC recogniser (EncDecCTCModel)")
    return Aligner(model.to(torch.device(device)), cpu_threads)
