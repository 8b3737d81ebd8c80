"""Small ONNX models on one core, shared by all elements that run them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any


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
