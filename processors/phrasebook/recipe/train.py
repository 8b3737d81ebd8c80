"""Trains the phrasebook model: one encoder pass for each clip, several things decoded from it.

The loss is cross-entropy of the answers in both target languages (recognition and translation), plus CTC on the
transcript, plus the source-language token of the prompt, which makes the decoder able to tell the language it hears.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batches import Batches, TrainingBatch, loader
from .config import Recipe
from .library import ClipLibrary
from .model import PROMPT_LANGUAGE_POSITION, build_model, prompts, tokenizer_folder, train_tokenizer
from .sampling import Planner
from .sentences import split
from .trainer import Trainer

logger = logging.getLogger(__name__)


class Objective:
    """The losses of a batch for a NeMo multitask model and a CTC head."""

    def __init__(self, module: nn.ModuleDict, recipe: Recipe, device: torch.device) -> None:
        """Encodes the prompts.

        Args:
            module: ``model`` (EncDecMultiTaskModel) and ``ctc`` (linear layer with the blank last).
            recipe: Settings of the losses.
            device: Where the module is.
        """
        model: Any = module["model"]
        self._model, self._ctc = model, module["ctc"]
        self._settings, self._device = recipe.train, device
        tokenizer: Any = model.tokenizer
        self._end: int = tokenizer.eos_id
        self._pad: int = tokenizer.pad_id
        self._blank: int = tokenizer.vocab_size
        self._amp = recipe.train.bfloat16
        self._prompts = prompts(self._model)
        self._ids: dict[str, list[int]] = {"": []}

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self._model.tokenizer.text_to_ids(text)
        return self._ids[text]

    def _answers(self, batch: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Lays the answers out as decoder sequences.

        Returns:
            int64[answers, time] tokens, float32[answers, time - 1] loss weights, int64[answers] number of the clip.
        """
        rows, weights, owners = [], [], []
        for number, sample in enumerate(batch.samples):
            for answer in sample.answers:
                prompt, ids = self._prompts[answer.source, answer.target], self._encode(answer.text)
                rows.append(torch.tensor([*prompt, *ids, self._end]))
                weight = torch.zeros(len(rows[-1]) - 1)
                weight[len(prompt) - 1 :] = 1.0 if ids else self._settings.empty_weight
                if sample.language == answer.source:
                    weight[PROMPT_LANGUAGE_POSITION - 1] = self._settings.language_weight
                weights.append(weight)
                owners.append(number)
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self._pad)
        return tokens, nn.utils.rnn.pad_sequence(weights, batch_first=True), torch.tensor(owners)

    def _inputs(self, tokens: Tensor) -> Tensor:
        """Replaces some answer tokens by others: the decoder has to listen instead of reciting sentences it knows."""
        prompt = len(next(iter(self._prompts.values())))
        noisy = torch.rand(tokens.shape) < self._settings.input_noise
        noisy[:, :prompt] = False
        noisy = noisy.to(tokens.device) & tokens.ne(self._pad)
        others = torch.randint(self._end + 1, self._blank, tokens.shape).to(tokens.device)
        return torch.where(noisy, others, tokens)

    def __call__(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns ``loss``, its parts ``ce`` and ``ctc``, and the token accuracy ``acc``."""
        model, device = self._model, self._device
        tokens, weights, owners = (t.to(device, non_blocking=True) for t in self._answers(batch))
        with torch.no_grad():
            features, frames = model.preprocessor(input_signal=batch.audio.to(device), length=batch.lengths.to(device))
            times = functional.pad(batch.time_mask, (0, max(0, features.shape[2] - batch.time_mask.shape[1])))
            mask = batch.frequency_mask[:, :, None] | times[:, None, : features.shape[2]]
            features = features.masked_fill(mask.to(device), 0.0)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._amp):
            encoded, steps = model.encoder(audio_signal=features, length=frames)
            encoded = encoded.transpose(1, 2)
            heard = (torch.arange(encoded.shape[1], device=device)[None] < steps[:, None]).to(encoded.dtype)
            ctc_logits = self._ctc(encoded)
            inputs = self._inputs(tokens[:, :-1])
            used = tokens[:, :-1].ne(self._pad).to(encoded.dtype)
            hidden = model.transf_decoder(
                input_ids=inputs,
                decoder_mask=used,
                encoder_embeddings=encoded[owners],
                encoder_mask=heard[owners],
            )
            log_probs = model.log_softmax(hidden_states=hidden)
        log_probs, targets = log_probs.float(), tokens[:, 1:]
        smooth = self._settings.label_smoothing
        picked = log_probs.gather(-1, targets[..., None])[..., 0]
        nll = -((1 - smooth) * picked + smooth * log_probs.mean(-1))
        total = weights.sum()
        cross_entropy = (nll * weights).sum() / total
        ctc = self._ctc_loss(ctc_logits.float(), steps, batch)
        correct = ((log_probs.argmax(-1) == targets).float() * weights).sum() / total
        loss = cross_entropy + self._settings.ctc_weight * ctc
        return {"loss": loss, "ce": cross_entropy, "ctc": ctc, "acc": correct}

    def _ctc_loss(self, logits: Tensor, steps: Tensor, batch: TrainingBatch) -> Tensor:
        rows = [i for i, sample in enumerate(batch.samples) if sample.transcript is not None]
        if not rows:
            return logits.sum() * 0
        transcripts = [self._encode(batch.samples[i].transcript or "") for i in rows]
        targets = torch.tensor([token for ids in transcripts for token in ids], dtype=torch.long)
        sizes = torch.tensor([len(ids) for ids in transcripts])
        log_probs = logits[rows].log_softmax(-1).transpose(0, 1)
        loss = functional.ctc_loss(
            log_probs,
            targets.to(self._device),
            steps[rows].to(self._device),
            sizes.to(self._device),
            blank=self._blank,
            reduction="sum",
            zero_infinity=True,
        )
        # By tokens, with at least a few for each clip: a batch of nothing but noise would weigh as much as a batch of
        # speech.
        return loss / max(4 * len(rows), int(sizes.sum()))


def load_init(module: nn.ModuleDict, path: Path) -> None:
    """Takes over weights: ours, or the two-part form ``{"m": model, "ctc": head}``.

    Raises:
        OSError: The file cannot be read.
        RuntimeError: Its weights have other shapes.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    if "ema" in state:
        module.load_state_dict(state["ema"])
    else:
        module["model"].load_state_dict(state["m"])
        module["ctc"].load_state_dict(state["ctc"])


def build_module(tokenizer: Path, recipe: Recipe) -> nn.ModuleDict:
    """Builds the model with its CTC head (which is not shipped: it only helps the encoder to learn)."""
    model = build_model(tokenizer, recipe.model)
    head = nn.Linear(recipe.model.width, model.tokenizer.vocab_size + 1)
    return nn.ModuleDict({"model": model, "ctc": head})


def pick_device() -> torch.device:
    """Returns CUDA if there is any, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run(
    work: Path,
    recipe: Recipe,
    *,
    init: Path | None = None,
    tokenizer: Path | None = None,
    resume: bool = False,
    max_steps: int | None = None,
) -> Path:
    """Trains and writes ``work/train/last.ckpt``.

    Args:
        work: Working folder, with the corpus in it.
        recipe: Settings.
        init: Weights to start from; the tokenizer has to be theirs.
        tokenizer: Tokenizer folder or a ``.nemo`` file; trained anew if None.
        resume: Go on from ``work/train/last.ckpt`` if it is there.
        max_steps: Stop early.

    Returns:
        The checkpoint.
    """
    device = pick_device()
    if device.type == "cpu":
        torch.set_num_threads(recipe.train.threads)
    torch.manual_seed(recipe.train.seed)
    source = tokenizer or train_tokenizer(work / "tokenizer", split()[0], recipe.model)
    folder = tokenizer_folder(source, work)
    module = build_module(folder, recipe)
    if init:
        load_init(module, init)
    module.to(device)
    trainer: Trainer[TrainingBatch] = Trainer(module, Objective(module, recipe, device), recipe.train)
    checkpoint = work / "train" / "last.ckpt"
    if resume and checkpoint.exists():
        trainer.load(checkpoint)
        logger.info("resumed at step %d", trainer.step)
    library = ClipLibrary.load(work / "corpus")
    logger.info("%d clips, %.1f h", len(library.clips), sum(c.samples for c in library.clips) / 16000 / 3600)
    data = Batches(Planner(library, recipe.mix, recipe.train), library, recipe.train, recipe.model.mel_bands)
    workers = recipe.train.loader_workers_gpu if device.type == "cuda" else recipe.train.loader_workers

    def batches(start: int) -> Iterable[TrainingBatch]:
        return loader(data, start, min(workers, os.cpu_count() or 1))

    trainer.run(batches, checkpoint, max_steps)
    return checkpoint
