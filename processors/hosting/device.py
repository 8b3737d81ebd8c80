"""Where a model runs: what a ``device`` setting stands for on this machine, and its memory.

What loading leaves is given back; what runs out is told as that, with what would fit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import sys
from collections.abc import Callable, Iterator

from tolmach.pipelines.errors import ModelError


def resolve_device(device: str, count: Callable[[], int]) -> str:
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


_SAYS = (
    "out of memory",  # torch.OutOfMemoryError, CTranslate2's "CUDA failed with error out of memory", cuDNN
    "can't allocate memory",  # PyTorch's CPU allocator (c10/core/impl/alloc_cpu.cpp), a RuntimeError
    "cannot allocate memory",  # mmap(2)
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "std::bad_alloc",
)


class OutOfMemoryError(ModelError):
    """A model, or one request to it, needs more memory than there is."""


def give_back() -> None:
    """Give the system the memory that loading took and freed, which glibc's allocator keeps otherwise.

    70 MB of 4.5 GB for canary-1b-v2 (tests/bench/full_size.py), in tens of milliseconds. Without glibc, nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it hides (``__cause__``, ``__context__``), says that memory ran out.

    Libraries wrap it: a Silero package turns every RuntimeError into "it's probably too long", NeMo's configuration
    loader into an error of instantiation.
    """
    return any(_says_so(each) for each in _chain(error))


def explain_out_of_memory(error: BaseException, what: str, advice: str = "") -> OutOfMemoryError:
    """The error people see instead: what ran out of memory, what the library said, what would help."""
    said = next((each for each in _chain(error) if _says_so(each)), error)
    first_line = str(said).strip().partition("\n")[0] or type(said).__name__
    advice = advice or "other programs, a smaller batch, shorter utterances or device: cpu leave more room"
    failure = OutOfMemoryError(f"{what}: out of memory ({first_line}); {advice}")
    failure.__cause__ = error
    return failure


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    stack: list[BaseException | None] = [error]
    while stack:
        each = stack.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        stack += [each.__context__, each.__cause__]


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OutOfMemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    ):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _SAYS)
