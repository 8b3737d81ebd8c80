"""Greedy decoding of NeMo's attention decoder, with what each step knows: the tokens, how likely, and where they look.

NeMo's own loop (``transformer_generators.GreedySequenceGenerator``) projects the encoder's states to keys and values
again for every token, in every layer, and the text so far as well. Both are constant: here they are computed once an
utterance, from the same weights. For canary-1b-v2 that is 8.4 of 9 GFLOP of a token at 20 s of audio. And the logits of
a step are also what NeMo throws away: the log-probability of the token that was taken.

Equal tokens to NeMo's loop are a test (``tests/unit/test_canary_decoding.py``), single and in batches.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from nemo.collections.asr.modules.transformer.transformer_decoders import (
    TransformerDecoder,
    TransformerDecoderAdapter,
    TransformerDecoderBlock,
)
from nemo.collections.asr.modules.transformer.transformer_modules import MultiHeadAttention, PositionWiseFF
from nemo.collections.asr.parts.submodules.token_classifier import TokenClassifier
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

STEP_TOKENS = 8
"""Tokens a step, between which another caller may have its turn. canary-1b-v2 on two CPU threads takes 0.05 s a token
of a short utterance."""

MASKED = -10000.0
"""What is added to the score of a key that must not be seen: NeMo's (``transformer_utils.NEG_INF``), finite so that a
row without any key stays a number."""

WATCHED_LAYER = -2
"""Layer whose attention says where the decoder looks, counted from the last: NeMo's ``AEDStreamingDecodingConfig.
xatt_scores_layer``. The mean over its heads counts, as there."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one utterance was decoded to.

    Attributes:
        tokens: Up to the first end of sequence, which is left out.
        logprobs: Of each token, natural logarithm.
        end_logprob: That the text ends behind them, natural logarithm.
        attention: Of each token and of the end, over the encoder's frames, float32[tokens + 1, frames]; None unless it
            was asked for. A row sums to 1.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    end_logprob: float
    attention: Tensor | None = None


class Layer(NamedTuple):
    """A layer of the decoder with what it keeps of one batch.

    Attributes:
        block: NeMo's.
        keys: Of the text so far, [n, heads, room, d]; filled as it grows.
        values: Like ``keys``.
        seen_keys: Of the encoder's states, [n, heads, frames, d].
        seen_values: Like ``seen_keys``.
    """

    block: Any
    keys: Tensor
    values: Tensor
    seen_keys: Tensor
    seen_values: Tensor


class GreedyDecoder:
    """Decodes with the weights of a NeMo model.

    Args:
        model: An ``EncDecMultiTaskModel``, in ``eval()`` mode whenever it decodes.
    """

    def __init__(self, model: Any) -> None:
        decoder = model.transf_decoder
        self._embedding = decoder.embedding
        self._blocks = list(decoder.decoder.layers)
        self._final_norm = decoder.decoder.final_layer_norm
        self._head = model.log_softmax.mlp
        self._end, self._pad = int(model.tokenizer.eos_id), int(model.tokenizer.pad_id)
        self._watched = self._blocks[max(WATCHED_LAYER, -len(self._blocks))]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a model's decoder is the one this class knows: NeMo's Transformer, without adapters in it."""
        decoder = getattr(model.transf_decoder, "decoder", None)
        return (
            decoder is not None
            and type(decoder) in (TransformerDecoder, TransformerDecoderAdapter)
            and isinstance(model.log_softmax, TokenClassifier)
            and all(
                type(block) is TransformerDecoderBlock
                and type(block.first_sub_layer) is MultiHeadAttention
                and type(block.second_sub_layer) is MultiHeadAttention
                and type(block.third_sub_layer) is PositionWiseFF
                and not block.is_adapter_available()
                for block in decoder.layers
            )
        )

    def decode(
        self,
        states: Tensor,
        mask: Tensor,
        prompts: Sequence[Tensor],
        limits: Sequence[int],
        allowed: Tensor | None = None,
        *,
        watch: bool = False,
    ) -> Generator[dict[int, Decoded], None, list[Decoded]]:
        """Decode a batch, a yield every :data:`STEP_TOKENS` tokens: of what has ended since the last one, by its row.

        Args:
            states: Of the encoder, [n, frames, width].
            mask: Which of them are of the utterance, [n, frames], 1 or 0.
            prompts: What each text begins with, int64[p]; lengths may differ.
            limits: Most tokens of each text behind its prompt.
            allowed: bool[classes], or None: which tokens may come.
            watch: Whether to keep the attention.
        """
        many = len(prompts)
        lengths = [len(prompt) for prompt in prompts]
        longest, room = max(lengths), max(lengths) + max(0, *limits)
        inputs = torch.full((many, longest), self._pad, device=states.device)
        for row, prompt in zip(inputs, prompts, strict=True):
            row[: len(prompt)] = prompt
        uneven = len(set(lengths)) > 1
        start = torch.tensor(lengths, device=states.device)
        layers = self._layers(states, room)
        seen = None if bool(mask.all()) else ((1 - mask.float()) * MASKED)[:, None, None].to(layers[0].seen_keys.dtype)
        # Columns of shorter prompts that hold nothing; they stay so while the text grows behind them.
        hidden = None
        if uneven:
            empty = torch.arange(room, device=states.device)[None] >= start[:, None]
            empty[:, longest:] = False
            hidden = (empty * MASKED)[:, None, None].to(layers[0].keys.dtype)

        tokens: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        ends: list[float] = [0.0] * many
        looks: list[Tensor] = []
        looked = [0] * many
        under_way = set(range(many))
        frames = mask.sum(dim=1).long().tolist()
        ended: dict[int, Decoded] = {}
        told: set[int] = set()

        def decoded(n: int) -> Decoded:
            look = torch.stack([look[n, : frames[n]] for look in looks[: looked[n]]]) if watch else None
            return Decoded(tuple(tokens[n]), tuple(logprobs[n]), ends[n], look)

        positions = torch.arange(longest, device=states.device).expand(many, -1)
        at = 0
        while under_way:
            steps = max(map(len, tokens))
            if steps and steps % STEP_TOKENS == 0 and at:
                yield {n: found for n, found in ended.items() if n not in told}
                told |= ended.keys()
            states_now, look = self._forward(inputs, positions, layers, at, seen, hidden, watch)
            if at == 0:
                states_now = states_now[torch.arange(many), start - 1]
                look = look[torch.arange(many), start - 1] if look is not None else None
            else:
                states_now, look = states_now[:, -1], look[:, -1] if look is not None else None
            logits = self._logits(states_now)
            scores = logits.float().log_softmax(dim=-1)
            chosen = (logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)).argmax(dim=-1)
            found = torch.stack([scores.gather(1, chosen[:, None])[:, 0], scores[:, self._end]]).tolist()
            best = chosen.tolist()
            if look is not None:
                looks.append(look)
            for n in tuple(under_way):
                looked[n] += 1
                if best[n] == self._end or len(tokens[n]) >= limits[n]:
                    ends[n] = found[1][n]
                    under_way.remove(n)
                    ended[n] = decoded(n)
                    continue
                tokens[n].append(best[n])
                logprobs[n].append(found[0][n])
            at = longest if at == 0 else at + 1
            following = [best[n] if n in under_way else self._pad for n in range(many)]
            inputs = torch.tensor(following, device=states.device)[:, None]
            positions = (start + (at - longest))[:, None]
        return [ended[n] for n in range(many)]

    def next_logprobs(self, states: Tensor, mask: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Log-probabilities of what may follow the prompts, float32[n, classes].

        Args:
            states: Of the encoder, [n, frames, width].
            mask: Theirs, [n, frames].
            prompts: int64[p] each, all of one length.
        """
        inputs = torch.stack(list(prompts))
        layers = self._layers(states, inputs.shape[1])
        seen = ((1 - mask.float()) * MASKED)[:, None, None].to(layers[0].seen_keys.dtype)
        positions = torch.arange(inputs.shape[1], device=states.device).expand(len(inputs), -1)
        found, _ = self._forward(inputs, positions, layers, 0, seen, None, watch=False)
        return self._logits(found[:, -1]).float().log_softmax(dim=-1)

    def _layers(self, states: Tensor, room: int) -> list[Layer]:
        layers = []
        for block in self._blocks:
            cross = block.second_sub_layer
            keys, values = _heads(cross, cross.key_net(states)), _heads(cross, cross.value_net(states))
            heads, width = block.first_sub_layer.num_attention_heads, block.first_sub_layer.attn_head_size
            shape = (len(states), heads, room, width)
            layers.append(Layer(block, keys.new_zeros(shape), keys.new_zeros(shape), keys, values))
        return layers

    def _forward(
        self,
        inputs: Tensor,
        positions: Tensor,
        layers: Sequence[Layer],
        at: int,
        seen: Tensor | None,
        hidden: Tensor | None,
        watch: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """One pass over new tokens.

        Args:
            inputs: int64[n, t].
            positions: Theirs, int64[n, t].
            layers: What is kept; extended by this.
            at: How many columns are kept already.
            seen: Added to the scores of the encoder's frames, [n, 1, 1, frames], or None.
            hidden: Added to the scores of the text's columns, [n, 1, 1, room], or None.
            watch: Whether to return the attention.

        Returns:
            States of the last layer, [n, t, width], and the watched attention, float32[n, t, frames].
        """
        embedding = self._embedding
        x = embedding.token_embedding(inputs) + embedding.position_embedding(positions)
        x = embedding.layer_norm(x)
        end = at + inputs.shape[1]
        first = at == 0  # the prompt: causal; columns that are empty come behind all that look at them
        held = None if hidden is None or first else hidden[..., :end]
        looks = None
        for layer in layers:
            block, attention, cross = layer.block, layer.block.first_sub_layer, layer.block.second_sub_layer
            y = block.layer_norm_1(x) if block.pre_ln else x
            layer.keys[:, :, at:end] = _heads(attention, attention.key_net(y))
            layer.values[:, :, at:end] = _heads(attention, attention.value_net(y))
            y = scaled_dot_product_attention(
                _heads(attention, attention.query_net(y)),
                layer.keys[:, :, :end],
                layer.values[:, :, :end],
                held,
                is_causal=first,
            )
            x = x + attention.out_projection(_joined(y))
            x = y = x if block.pre_ln else block.layer_norm_1(x)
            query = _heads(cross, cross.query_net(block.layer_norm_2(y) if block.pre_ln else y))
            if watch and block is self._watched:
                weights = query @ layer.seen_keys.transpose(-1, -2) / cross.attn_head_size**0.5
                weights = (weights if seen is None else weights + seen).float().softmax(dim=-1)
                looks = weights.mean(dim=1)
                y = weights.to(layer.seen_values.dtype) @ layer.seen_values
            else:
                y = scaled_dot_product_attention(query, layer.seen_keys, layer.seen_values, seen)
            x = x + cross.out_projection(_joined(y))
            x = y = x if block.pre_ln else block.layer_norm_2(x)
            feed = block.third_sub_layer
            y = block.layer_norm_3(y) if block.pre_ln else y
            x = x + feed.dense_out(feed.act_fn(feed.dense_in(y)))
            if not block.pre_ln:
                x = block.layer_norm_3(x)
        if self._final_norm is not None:
            x = self._final_norm(x)
        return x, looks

    def _logits(self, x: Tensor) -> Tensor:
        for n in range(self._head.layers):
            x = getattr(self._head, f"layer{n}")(x)
        return x


def _heads(attention: Any, x: Tensor) -> Tensor:
    """[n, t, width] to [n, heads, t, d]."""
    return x.view(*x.shape[:2], attention.num_attention_heads, attention.attn_head_size).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """[n, heads, t, d] to [n, t, width]."""
    return x.transpose(1, 2).flatten(2)
