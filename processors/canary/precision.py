"""In which arithmetic a model's weights are kept, decided by what the device can do and has free; pure, no torch."""

from __future__ import annotations

from pathlib import Path

from tolmach.pipelines.errors import ModelError
from tolmach.pipelines.models.caches import size_text
from tolmach.processors.hosting.device import OutOfMemoryError

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes a parameter."""

WORK_BYTES = {"float32": 1 << 30, "float16": 1 << 29, "bfloat16": 1 << 29}
"""Room for one utterance's features and states and the libraries' workspaces, bytes. An estimate: canary-1b-v2 was
reported to recognise speech in float16 within 2.07 GiB, 1.8 GiB of which are its weights."""

LEAST_CAPABILITY = {"float32": (0, 0), "float16": (5, 3), "bfloat16": (8, 0)}
"""CUDA compute capability with native arithmetic (CUDA C++ Programming Guide, "Arithmetic Instructions")."""

SMALLER = "a smaller model, nvidia/canary-180m-flash (0.7 GiB in float32; en, de, es, fr)"


def needed_bytes(parameters: int, dtype: str) -> int:
    """What a model of so many parameters needs on a card to run one utterance, bytes."""
    return parameters * BYTES[dtype] + WORK_BYTES[dtype]


def choose(wanted: str, device: str, parameters: int, free_bytes: int = 0, capability: tuple[int, int] = (0, 0)) -> str:
    """The arithmetic for a device.

    Args:
        wanted: The setting: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        device: ``cpu`` or ``cuda:N``.
        parameters: How many the model has.
        free_bytes: What is free on the card now (``torch.cuda.mem_get_info``).
        capability: The card's compute capability.

    Returns:
        ``float32`` if there is room for it, as it is what models are published and measured in; else the half precision
        that the card has. On a CPU always ``float32`` unless ``bfloat16`` was asked for.

    Raises:
        ModelError: If the device cannot compute in what was asked for.
        OutOfMemoryError: If it will not fit; says what would.
    """
    if device == "cpu":
        if wanted == "float16":
            raise ModelError("dtype float16 is for CUDA; on a CPU use float32 (auto), or bfloat16 for half the memory")
        return "float32" if wanted == "auto" else wanted
    if wanted != "auto" and capability < LEAST_CAPABILITY[wanted]:
        least = ".".join(map(str, LEAST_CAPABILITY[wanted]))
        raise ModelError(
            f"dtype {wanted} needs CUDA compute capability {least}, {device} has {'.'.join(map(str, capability))}; use "
            "dtype auto"
        )
    half = "bfloat16" if capability >= LEAST_CAPABILITY["bfloat16"] else "float16"
    possible = [dtype for dtype in ("float32", half) if capability >= LEAST_CAPABILITY[dtype]]
    fitting = [dtype for dtype in possible if needed_bytes(parameters, dtype) <= free_bytes]
    if wanted == "auto" and fitting:
        return fitting[0]
    if wanted != "auto" and needed_bytes(parameters, wanted) <= free_bytes:
        return wanted
    asked = possible[-1] if wanted == "auto" else wanted
    would = [f"dtype {dtype} ({size_text(needed_bytes(parameters, dtype))})" for dtype in fitting]
    would += [f"device cpu ({size_text(parameters * BYTES['float32'])} of main memory)", SMALLER]
    raise OutOfMemoryError(
        f"out of memory: the model needs {size_text(needed_bytes(parameters, asked))} in {asked}, {device} has "
        f"{size_text(free_bytes)} free; what fits: {', '.join(would)}"
    )


def check_main_memory(weights_bytes: int, available_bytes: int | None) -> None:
    """Refuse to load what will not fit: Linux would end the process without a word in the middle of it.

    Args:
        weights_bytes: Size of the weights.
        available_bytes: :func:`main_memory`, or None if it is not known.

    Raises:
        OutOfMemoryError: Says what would fit.
    """
    if available_bytes is not None and weights_bytes > available_bytes:
        raise OutOfMemoryError(
            f"out of memory: the weights need {size_text(weights_bytes)} of main memory, {size_text(available_bytes)} "
            f"can be had; what fits: {SMALLER}, or end other programs"
        )


def main_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Main memory that can be had, swap included, bytes, or None where nobody says (not Linux).

    The least of what the kernel says of the machine (``MemAvailable`` and ``SwapFree``) and of the container's limit
    (cgroup v2, ``memory.max`` less ``memory.current`` without the file cache, which gives way).
    """
    try:
        table = dict(line.split(":", 1) for line in proc.read_text(encoding="ascii").splitlines() if ":" in line)
        free = sum(int(table[name].split()[0]) for name in ("MemAvailable", "SwapFree")) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max" is no number: no limit
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return min(free, max(0, limit - used + int(stat["file"])))
    except (OSError, ValueError, KeyError):
        return free
