"""Turns a checkpoint into the file that is shipped, with a sidecar that says what it is."""

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .config import Recipe

NOTICE = (
    "Demonstration phrasebook, not a translator: it knows about 1600 travel sentences, learnt from synthetic voices, "
    "and answers anything else with silence."
)


def export(checkpoints: Mapping[Path, float], tokenizer: Path, out: Path, recipe: Recipe) -> Path:
    """Writes weights as a ``.nemo`` file in half precision, without the CTC head.

    Several checkpoints of one line of training are averaged ("model soup", Wortsman et al. 2022): each knows some
    sentences the others have lost.

    Args:
        checkpoints: Results of training, with their shares.
        tokenizer: Tokenizer folder.
        out: File to write.
        recipe: Settings the checkpoint was trained with.

    Returns:
        ``out``.
    """
    from .model import quiet_nemo
    from .train import build_module, load_init

    quiet_nemo()
    module = build_module(tokenizer, recipe)
    total: dict[str, Any] = {}
    for checkpoint, share in checkpoints.items():
        load_init(module, checkpoint)
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                total[name] = total.get(name, 0) + value * (share / sum(checkpoints.values()))
    module.load_state_dict(module.state_dict() | total)
    model: Any = module["model"].eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        full = Path(name) / "full.nemo"
        model.save_to(str(full))
        shrink(full, out)
    return out


def shrink(path: Path, out: Path) -> None:
    """Rewrites a ``.nemo`` archive: half-precision weights, no paths of the machine it was made on, no time stamps.

    Args:
        path: Archive to read.
        out: Archive to write, uncompressed as NeMo's own are.
    """
    import torch

    with tarfile.open(path) as archive, tarfile.open(out, "w") as packed:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            data = file.read()
            if member.name.endswith("model_weights.ckpt"):
                state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
                # The filter bank and the window are not learnt; halving them would change every feature.
                small = {
                    key: value.half() if value.dtype == torch.float32 and "featurizer" not in key else value
                    for key, value in state.items()
                }
                buffer = BytesIO()
                torch.save(small, buffer)
                data = buffer.getvalue()
            elif member.name.endswith("model_config.yaml"):
                config = YAML(typ="safe").load(data)
                # NeMo finds the tokenizer by the archive's own file names; the folder it came from means nothing
                # elsewhere.
                config["tokenizer"]["dir"] = "tokenizer"
                text = BytesIO()
                YAML(typ="safe").dump(config, text)
                data = text.getvalue()
            info = tarfile.TarInfo(f"./{Path(member.name).name}")
            info.size = len(data)
            packed.addfile(info, BytesIO(data))


def write_sidecar(model: Path, report: dict[str, Any], trained_on: str) -> Path:
    """Writes the JSON file beside a model.

    Args:
        model: The ``.nemo`` file.
        report: Result of :func:`tolmach.processors.phrasebook.recipe.evaluate.evaluate`.
        trained_on: What the training data was, in words.

    Returns:
        The sidecar: name, notice, licence, languages, SHA-256 of the model, gate, and accuracy.
    """
    sidecar = {
        "name": "phrasebook",
        "notice": NOTICE,
        "licence": "Apache-2.0",
        "languages": ["en", "ru"],
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "min_logprob": report["min_logprob"],
        "trained_on": trained_on,
        "accuracy": {key: value for key, value in report.items() if key != "min_logprob"},
    }
    path = model.with_suffix(".json")
    path.write_text(json.dumps(sidecar, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path
