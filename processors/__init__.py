"""Floor 1: elements that transform frames."""

if not __name__.startswith("tolmach."):
    raise ImportError(f"{__name__} is a room of Tolmach and is imported as tolmach.{__name__}", name=__name__)

import os

# What is spoken stays here, and so does that anybody spoke: onnxruntime (1.32) and the hub's client report their use
# unless they are told not to before they are imported, which happens only below this package.
for _name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")
