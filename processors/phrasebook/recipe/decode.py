"""Greedy decoding in batches, with the score that the gate looks at.

The score of a text is the mean natural log-probability of its tokens, the end token among them. It is computed here
as the tokens are chosen; a second pass over prompt and tokens gives the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .model import prompts
from .voices import SAMPLE_RATE_HZ, Audio

_MAX_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model says to a clip.

    Attributes:
        text: The text, empty if it ended at once.
        score: Mean log-probability of the tokens including the end, 0 at best.
    """

    text: str
    score: float


class ClipDecoder:
    """Decodes clips with a NeMo multitask model; not thread-safe, as the model is not."""

    def __init__(self, model: Any) -> None:
        """Takes a model in evaluation mode."""
        self._model = model
        self._prompts = prompts(model)

    def __call__(
        self, clips: Sequence[Audio], source: str, target: str, batch: int = 32, max_tokens: int = _MAX_TOKENS
    ) -> list[Decoded]:
        """Decodes clips.

        Args:
            clips: float32[n] each, 16 kHz mono; any lengths.
            source: Language of the prompt, ``en`` or ``ru``.
            target: Language to answer in.
            batch: Clips in a pass; clips of like length are put together.
            max_tokens: Longest answer.

        Returns:
            An answer for each clip, in the order given. The thread is blocked until all are done.
        """
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
        out: list[Decoded] = [Decoded("", 0.0)] * len(clips)
        for start in range(0, len(order), batch):
            numbers = order[start : start + batch]
            for i, decoded in zip(
                numbers, self._batch([clips[i] for i in numbers], source, target, max_tokens), strict=True
            ):
                out[i] = decoded
        return out

    @torch.inference_mode()
    def _batch(self, clips: Sequence[Audio], source: str, target: str, max_tokens: int) -> list[Decoded]:
        model = self._model
        lengths = torch.tensor([max(len(clip), SAMPLE_RATE_HZ // 4) for clip in clips])
        audio = torch.zeros(len(clips), int(lengths.max()))
        for i, clip in enumerate(clips):
            audio[i, : len(clip)] = torch.from_numpy(np.ascontiguousarray(clip))
        features, frames = model.preprocessor(input_signal=audio, length=lengths)
        encoded, steps = model.encoder(audio_signal=features, length=frames)
        encoded = encoded.transpose(1, 2)
        heard = (torch.arange(encoded.shape[1])[None] < steps[:, None]).to(encoded.dtype)
        prompt = self._prompts[source, target]
        end = model.tokenizer.eos_id
        tokens = torch.tensor([prompt] * len(clips))
        sums, counts = torch.zeros(len(clips)), torch.zeros(len(clips))
        running = torch.ones(len(clips), dtype=torch.bool)
        for _ in range(max_tokens):
            hidden = model.transf_decoder(
                input_ids=tokens,
                decoder_mask=torch.ones_like(tokens, dtype=encoded.dtype),
                encoder_embeddings=encoded,
                encoder_mask=heard,
            )
            best = model.log_softmax(hidden_states=hidden[:, -1:])[:, 0].log_softmax(-1).max(-1)
            sums += torch.where(running, best.values, 0.0)
            counts += running
            tokens = torch.cat([tokens, torch.where(running, best.indices, end)[:, None]], dim=1)
            running &= best.indices != end
            if not running.any():
                break
        texts = []
        for row in tokens[:, len(prompt) :].tolist():
            ids = row[: row.index(end)] if end in row else row
            texts.append(model.tokenizer.ids_to_text(ids).strip() if ids else "")
        return [Decoded(text, float(s / n)) for text, s, n in zip(texts, sums, counts, strict=True)]
