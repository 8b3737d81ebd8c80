"""NeMo's own search, for beams of more than one and for decoders that :mod:`.decoding` does not know; slower.

A search of NeMo's is one step, whatever it takes, and says nothing of likelihood (``token_confidence`` is zeros for
these models in 3.0.0), so the decoder reads its own text once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tolmach.processors.canary.decoding import Decoded


def search(
    model: Any, decoding: Any, states: Tensor, mask: Tensor, prompts: Sequence[Tensor], limits: Sequence[int | None]
) -> list[Decoded]:
    """Decode a batch with a search of NeMo's; leaves the model in ``eval()`` mode.

    Args:
        model: An ``EncDecMultiTaskModel``.
        decoding: A ``MultiTaskDecoding`` of it.
        states: Of its encoder, [n, frames, width].
        mask: Theirs, [n, frames].
        prompts: What each text begins with, int64[p].
        limits: Most tokens of each; the search itself is bounded by the largest, and by NeMo's bound where one is None.
    """
    found: list[Decoded | None] = [None] * len(prompts)
    for length in sorted(set(map(len, prompts))):  # NeMo takes prompts of one length
        rows = [n for n, prompt in enumerate(prompts) if len(prompt) == length]
        at = torch.tensor(rows, device=states.device)
        batch = torch.stack([prompts[n] for n in rows])
        tokens = _tokens(model, decoding, states[at], mask[at], batch, [limits[n] for n in rows])
        for n, each in zip(rows, _scored(model, states[at], mask[at], batch, tokens), strict=True):
            found[n] = each
    return [each for each in found if each is not None]


def _tokens(
    model: Any, decoding: Any, states: Tensor, mask: Tensor, prompts: Tensor, limits: Sequence[int | None]
) -> list[list[int]]:
    """Tokens of each text up to the first end of sequence, which is left out."""
    inference = decoding.decoding
    with _bound(getattr(inference, "greedy_search", None) or inference.beam_search, limits, prompts.shape[1]):
        decoded = decoding.decode_predictions_tensor(
            encoder_hidden_states=states, encoder_input_mask=mask, decoder_input_ids=prompts
        )
    model.eval()  # NeMo leaves it in train() mode
    best = [each[0] if isinstance(each, list) else each for each in decoded]
    rows = [[int(token) for token in each.y_sequence] for each in best]
    end = model.tokenizer.eos_id
    return [row[: row.index(end)] if end in row else row for row in rows]


@contextmanager
def _bound(search: Any, limits: Sequence[int | None], prompt_length: int) -> Iterator[None]:
    """Bound NeMo's search to the largest limit, if there is one for all."""
    if None in limits:
        yield
        return
    own = search.max_seq_length
    search.max_seq_length = min(own, prompt_length + max(limit for limit in limits if limit is not None))
    try:
        yield
    finally:
        search.max_seq_length = own


def _scored(
    model: Any, states: Tensor, mask: Tensor, prompts: Tensor, tokens: Sequence[Sequence[int]]
) -> list[Decoded]:
    """The texts with their log-probabilities, by teacher forcing: one step instead of one a token."""
    end, start = model.tokenizer.eos_id, prompts.shape[1]
    lengths = torch.tensor([start + len(row) for row in tokens], device=states.device)
    inputs = torch.full((len(tokens), int(lengths.max())), model.tokenizer.pad_id, device=states.device)
    for into, prompt, row in zip(inputs, prompts, tokens, strict=True):
        into[: start + len(row)] = torch.cat([prompt, torch.tensor(row, dtype=prompt.dtype, device=states.device)])
    valid = torch.arange(inputs.shape[1], device=states.device)[None] < lengths[:, None]
    hidden = model.transf_decoder(
        input_ids=inputs, decoder_mask=valid.to(inputs.dtype), encoder_embeddings=states, encoder_mask=mask
    )
    logprobs = model.log_softmax(hidden_states=hidden)
    found = []
    for each, row in zip(logprobs, tokens, strict=True):
        wanted = torch.tensor([*row, end], device=states.device)
        *steps, last = each[start - 1 : start + len(row)].float().gather(1, wanted[:, None])[:, 0].tolist()
        found.append(Decoded(tuple(row), tuple(steps), last))
    return found
