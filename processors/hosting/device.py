"""Where a model runs: what a ``device`` setting stands for on this machine."""

from __future__ import annotations

from collections.abc import Callable

from tolmach.pipelines.errors import ModelError


def resolve(device: str, count: Callable[[], int]) -> str:
    """The device that a setting stands for: ``cpu`` or ``cuda:N``. ``auto`` is the first GPU if there is one.

    Blocks while ``count`` imports its library; call it off the event loop.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        count: How many GPUs the library that runs the model sees; not asked for ``cpu``.

    Raises:
        ModelError: If the device is not there.
    """
    if device == "cpu":
        return device
    gpus = count()
    if device == "auto":
        return "cuda:0" if gpus else "cpu"
    index = int(device.partition(":")[2] or 0)
    if index >= gpus:
        seen = {0: "no GPU is seen", 1: "one GPU is seen, cuda:0"}.get(gpus, f"{gpus} GPUs are seen")
        raise ModelError(f"there is no device {device} here ({seen}): use cpu or auto")
    return f"cuda:{index}"


def torch_gpus() -> int:
    """GPUs that PyTorch can use. Imports it."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
