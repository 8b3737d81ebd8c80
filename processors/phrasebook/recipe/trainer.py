"""A training loop that can be stopped at any step and goes on as if it had not been.

It knows nothing of speech: a module, a loss of a batch, and batches by step number. The schedule runs over minutes of
wall clock; a checkpoint holds the minutes already used, so a pause does not cost learning rate.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from .config import TrainSettings

logger = logging.getLogger(__name__)

_LOG_STEPS = 50
BatchT = TypeVar("BatchT")


class Trainer(Generic[BatchT]):
    """Trains a module.

    Attributes:
        step: Steps taken; also the number of the next batch.
        elapsed_s: Seconds of training behind the current step, over all runs.
        ema: Moving average of the weights and buffers: the ones to use.
    """

    def __init__(
        self,
        module: nn.Module,
        losses: Callable[[BatchT], dict[str, Tensor]],
        settings: TrainSettings,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the optimizer.

        Args:
            module: What is trained, already on its device.
            losses: Gives named scalars of a batch; ``"loss"`` is minimised, the others are logged.
            settings: Schedule and optimisation.
            now: Clock in seconds; tests set it.
        """
        self.module, self.losses, self.settings = module, losses, settings
        self.step, self.elapsed_s = 0, 0.0
        self.ema = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self._now = now
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
        )

    @property
    def progress(self) -> float:
        """Share of the schedule that is over, 0 to 1."""
        return min(1.0, self.elapsed_s / (self.settings.minutes * 60))

    def learning_rate(self) -> float:
        """Returns the learning rate of the next step: linear warm-up by steps, cosine decay by time."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return settings.learning_rate * warm * (settings.final_factor + (1 - settings.final_factor) * cosine)

    def run(
        self, batches: Callable[[int], Iterable[BatchT]], checkpoint: Path | None = None, max_steps: int | None = None
    ) -> None:
        """Trains until the schedule is over.

        Args:
            batches: Gives the batches from a step number on.
            checkpoint: File written every few minutes and at the end.
            max_steps: Stop when so many steps are taken in all.

        An interrupt stops between two steps after writing the checkpoint; the calling thread is blocked throughout.
        """
        self.module.train()
        began, before = self._now(), self.elapsed_s
        saved = began
        sums: dict[str, float] = {}
        try:
            for batch in batches(self.step):
                values = self._update(batch)
                self.elapsed_s = before + self._now() - began
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value
                if self.step % _LOG_STEPS == 0:
                    self._log(sums)
                    sums = {}
                if checkpoint and self._now() - saved > self.settings.checkpoint_minutes * 60:
                    self.save(checkpoint)
                    saved = self._now()
                if self.progress >= 1 or (max_steps is not None and self.step >= max_steps):
                    break
        finally:
            if checkpoint:
                self.save(checkpoint)

    def _update(self, batch: BatchT) -> dict[str, float]:
        rate = self.learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        values = self.losses(batch)
        self._optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, self.settings.clip_norm)
        # One broken batch must not poison the optimizer's moments for good.
        if torch.isfinite(norm):
            self._optimizer.step()
        self.step += 1
        self._average()
        return {name: float(value.detach()) for name, value in values.items()}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - decay)
            else:
                self.ema[name].copy_(value)

    def _log(self, sums: dict[str, float]) -> None:
        means = " ".join(f"{name} {value / _LOG_STEPS:.3f}" for name, value in sums.items())
        minutes, pace = self.elapsed_s / 60, self.step / max(1e-9, self.elapsed_s)
        rate = self.learning_rate()
        logger.info(
            "step %d %.1f min (%.0f %%) %s lr %.1e %.2f/s", self.step, minutes, 100 * self.progress, means, rate, pace
        )

    def state(self) -> dict[str, Any]:
        """Returns everything that the next step depends on."""
        return {
            "module": self.module.state_dict(),
            "ema": self.ema,
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "settings": self.settings.model_dump(),
        }

    def save(self, path: Path) -> None:
        """Writes a checkpoint; the old one stays whole until the new one is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(self.state(), partial)
        partial.replace(path)
        logger.info("checkpoint at step %d: %s", self.step, path)

    def load(self, path: Path) -> None:
        """Takes up a checkpoint.

        Raises:
            OSError: The file cannot be read.
            ValueError: It was made with another data seed or batch size, so its step number means other data.
            RuntimeError: Its weights have other shapes.
        """
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("seed", "batch", "pool_batches"):
            if state["settings"][name] != getattr(self.settings, name):
                message = f"{path} was made with {name}={state['settings'][name]}"
                raise ValueError(message)
        self.module.load_state_dict(state["module"])
        for name, value in state["ema"].items():
            self.ema[name].copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        torch.set_rng_state(state["random"])
        if state["random_gpu"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_gpu"])
