"""CPU threads of PyTorch: each model's own, whatever other models run in the process.

``torch.set_num_threads()`` changes the calling thread, and what every thread that is new to torch starts with
(aten/src/ATen/ParallelOpenMP.cpp). A model that trusts what it finds would compute with another number of threads
depending on which host loaded first: sums are then added in another order, and the last digits differ from run to run.
So every model says its number before each batch, in its host's thread.
"""

from __future__ import annotations

import torch

USUAL = torch.get_num_threads()
"""What PyTorch took by itself (the number of cores, or ``OMP_NUM_THREADS``): read on import, before any change."""


def use_threads(count: int) -> None:
    """Compute with ``count`` threads in the calling thread; 0 for the usual number."""
    torch.set_num_threads(count or USUAL)
