"""What the decoder of a Canary model begins with: the slots of NeMo's ``canary2`` prompt, and a text to go on with."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from tolmach.pipelines.errors import ModelError
from tolmach.processors.ast.guards import without_tokens
from tolmach.processors.canary.request import CanaryRequest, switch_token
from tolmach.processors.languages import LANGUAGES

PROMPT_FORMAT = "canary2"
"""The prompt of canary-1b-v2, canary-1b-flash and canary-180m-flash."""

_CONTEXT = "<|startofcontext|>"

_SLOTS = {
    "decodercontext": "",
    "emotion": "<|emo:undefined|>",
    "pnc": "<|pnc|>",
    "itn": "<|noitn|>",
    "timestamp": "<|notimestamp|>",
    "diarize": "<|nodiarize|>",
}
"""What NeMo's ``canary2`` prompt function fills in where a model has no ``prompt_defaults``."""


class Prompts:
    """Makes prompts for one model.

    Args:
        model: An ``EncDecMultiTaskModel`` of this prompt format.
        device: Where they are needed.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._device = device
        self.languages = language_tokens(model.tokenizer)
        special = getattr(model.tokenizer, "special_tokens", None)  # of tokenizers put together
        self._context_id = int(special[_CONTEXT] if special else model.tokenizer.token_to_id(_CONTEXT))
        self._made: dict[tuple[str, str, bool | None, bool | None], Tensor] = {}

    def __call__(self, item: CanaryRequest) -> Tensor:
        """What the decoder begins with, the prefix of the text included, int64[p].

        Raises:
            ModelError: If the model has no token for a language.
        """
        prompt = self.of(item.source_lang, item.target_lang, item.context, item.pnc, item.itn)
        prefix = self.tokens(item.prefix, item.target_lang)
        return torch.cat([prompt, torch.tensor(prefix, dtype=prompt.dtype, device=self._device)]) if prefix else prompt

    def of(
        self,
        source_lang: str,
        target_lang: str,
        context: str | tuple[int, ...] = "",
        pnc: bool | None = None,
        itn: bool | None = None,
    ) -> Tensor:
        """The prompt alone, int64[p].

        Args:
            source_lang: Language that is spoken.
            target_lang: Language of the text.
            context: For the slot ``decodercontext``: what was said before, in the language of the text, or its tokens.
            pnc: Whether with punctuation and capitals; None as the model is configured.
            itn: Whether with numbers in digits; None as the model is configured.

        Raises:
            ModelError: If the model has no token for a language.
        """
        if context and not isinstance(context, str):
            plain = self.of(source_lang, target_lang, "", pnc, itn)
            at = int((plain == self._context_id).nonzero()[0]) + 1
            return torch.cat([plain[:at], torch.tensor(context, dtype=plain.dtype, device=self._device), plain[at:]])
        key = (source_lang, target_lang, pnc, itn)
        if not context and key in self._made:
            return self._made[key]
        for lang in (source_lang, target_lang):
            if lang not in self.languages:
                raise ModelError(f"the model has no language {lang!r}; it has {', '.join(self.languages)}")
        turn = self._model.prompt.get_default_dialog_slots()[0]
        given = {slot: value for slot, value in turn["slots"].items() if value is not None}
        slots = {**_SLOTS, **given, "source_lang": source_lang, "target_lang": target_lang}
        for slot, wanted in (("pnc", pnc), ("itn", itn)):
            if wanted is not None:
                slots[slot] = switch_token(slot, wanted)
        if context:
            slots["decodercontext"] = without_tokens(str(context))
        encoded = self._model.prompt.encode_dialog(turns=[{"role": turn["role"], "slots": slots}])
        prompt: Tensor = encoded["context_ids"].to(self._device)
        if not context:  # of contexts there is no end
            self._made[key] = prompt
        return prompt

    def tokens(self, text: str | tuple[int, ...], lang: str) -> list[int]:
        """Tokens of a text; special ones in it are left out."""
        if not isinstance(text, str):
            return list(text)
        text = without_tokens(text)
        if not text:
            return []
        # The language counts where a model has a tokenizer for each.
        turn = {"role": "user_prefix", "slots": {"prefix": text, self._model.prompt.PROMPT_LANGUAGE_SLOT: lang}}
        return [int(token) for token in self._model.prompt.encode_dialog(turns=[turn])["context_ids"]]


def switches(tokenizer: Any) -> tuple[str, ...]:
    """Those of the tokens of ``pnc`` and ``itn`` that the tokenizer has (``<|nopnc|>``)."""
    special = getattr(tokenizer, "special_tokens", None) or tokenizer.vocab
    return tuple(
        token for slot in ("pnc", "itn") for on in (True, False) if (token := switch_token(slot, on)) in special
    )


def language_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Languages that the tokenizer has a token for (``<|ru|>``), sorted."""
    special = getattr(tokenizer, "special_tokens", None) or tokenizer.vocab
    codes = {found.group(1) for token in special if (found := re.fullmatch(r"<\|([a-z]{2,3})\|>", token))}
    return tuple(sorted(code for code in codes if code in LANGUAGES))
