"""The models that ship inside the project: a ``.nemo`` and a JSON sidecar that says what it is; cheap to import."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tolmach.pipelines.errors import ModelError, ModelMissingError, ModelRefusedError

FOLDER = Path(__file__).resolve().parent.parent
"""Where ``NAME/NAME.nemo`` and ``NAME/NAME.json`` lie."""

LABELS = {"phrasebook": ("demonstration phrasebook", "not in the phrasebook")}
"""The embedded models: as what each speaks to people, and what it says of speech it does not know."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the sidecar says, and the model's label.

    Attributes:
        path: The ``.nemo`` file.
        sha256: SHA-256 that the file must have, hexadecimal.
        label: What the model is, as people should read it ("demonstration phrasebook").
        notice: What people should know before they take it for more than it is.
        languages: Languages it was trained on.
        min_logprob: Its gate: least mean log-probability of a token (natural log) for a text to pass.
        rejection: What it says of speech below the gate.
    """

    path: Path
    sha256: str
    label: str
    notice: str
    languages: tuple[str, ...]
    min_logprob: float
    rejection: str


def read(name: str) -> Embedded:
    """The embedded model of this name.

    Raises:
        ModelMissingError: If the installation lacks its files.
        ModelError: If its sidecar is broken.
    """
    folder = FOLDER / name
    sidecar = folder / f"{name}.json"
    path = folder / f"{name}.nemo"
    for file in (sidecar, path):
        if not file.is_file():
            raise ModelMissingError(f"embedded:{name}: this installation of tolmach lacks {file}; install it again")
    label, rejection = LABELS[name]
    try:
        data = json.loads(sidecar.read_text(encoding="utf-8"))
        return Embedded(
            path=path,
            sha256=str(data["sha256"]).lower(),
            label=label,
            notice=str(data["notice"]),
            languages=tuple(map(str, data["languages"])),
            min_logprob=float(data["min_logprob"]),
            rejection=rejection,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"embedded:{name}: {sidecar} is broken ({error!r}); install tolmach again") from error


def verify(path: Path, sha256: str) -> None:
    """Check a file against its pin.

    Raises:
        ModelRefusedError: If it is another file.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ModelRefusedError(f"{path} has SHA-256 {found}, not the pinned {sha256}; install tolmach again")
