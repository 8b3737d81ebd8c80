"""Small ONNX models that lie in installed distributions: found by path, run on one core, shared by all elements."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any


def find_installed(homes: Iterable[tuple[str, str]]) -> Path | None:
    """The first file that is there, of (distribution, path inside it); their code is not imported."""
    for name, inside in homes:
        try:
            path = Path(str(distribution(name).locate_file(inside)))
        except PackageNotFoundError:
            continue
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=4)
def cpu_session(path: Path) -> Any:
    """An onnxruntime session for the model at ``path``, loaded once per process; threads may run it."""
    import onnxruntime  # costs a tenth of a second, and only graphs that run need it

    options = onnxruntime.SessionOptions()
    # One window is too little work to share, and spinning threads would take the cores from the translation model.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
