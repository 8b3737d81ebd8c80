"""Where a torch model runs."""

from __future__ import annotations


def resolve(device: str) -> str:
    """The torch device that a ``device`` setting stands for: ``cpu`` or ``cuda:N``.

    Blocks while torch is imported for ``auto``; call it off the event loop.
    """
    if device == "auto":
        import torch

        return "cuda:0" if torch.cuda.is_available() else "cpu"
    return "cuda:0" if device == "cuda" else device
