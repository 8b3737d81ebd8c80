"""Restores a ``.nemo`` file more carefully than NeMo does.

NeMo's own connector changes the *process's* working directory while it reads a model (a file sink that opens a relative
path at that moment writes into a temporary folder), lets the environment turn weights-only loading off, skips archive
members that lead out of the folder without a word, and loads the aligner that only timestamps need (a second
0.6 billion parameters for canary-1b-v2). This one does none of that; everything else is NeMo's.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from omegaconf import OmegaConf

from pipelines.caches import size_text
from pipelines.errors import ModelError, ModelRefusedError

ALIGNER_WEIGHTS = "timestamps_asr_model_weights.ckpt"


class Connector(SaveRestoreConnector):  # type: ignore[misc] # NeMo is untyped
    """Give it to ``restore_from(..., save_restore_connector=Connector())``."""

    def load_config_and_state_dict(
        self,
        calling_cls: Any,
        restore_path: str,
        override_config_path: Any = None,
        map_location: Any = None,
        strict: bool = True,
        return_config: bool = False,
        trainer: Any = None,
        validate_access_integrity: bool = True,
    ) -> tuple[Any, Any, Any]:
        """The configuration, a model built from it, and its weights; called by NeMo.

        Raises:
            ModelRefusedError: If the archive has a member that leads out of its folder.
        """
        with tempfile.TemporaryDirectory(prefix="tolmach-nemo-") as temporary:
            if self.model_extracted_dir:
                folder = Path(self.model_extracted_dir)
            else:
                folder = Path(temporary)
                unpack(Path(restore_path), folder)
            config = OmegaConf.load(folder / self.model_config_yaml)
            config = config.get("model", config)
            config.restore_timestamps_model = False
            OmegaConf.set_struct(config, True)
            calling_cls._set_model_restore_state(is_being_restored=True, folder=str(folder))
            try:
                instance = calling_cls.from_config_dict(config=config, trainer=trainer).to(map_location)
                weights = torch.load(folder / self.model_weights_ckpt, map_location=map_location, weights_only=True)
            except BaseException:
                calling_cls._set_model_restore_state(is_being_restored=False)
                raise
        return config, instance, weights


def unpack(path: Path, folder: Path) -> None:
    """Unpack a ``.nemo`` archive, less the aligner's weights.

    Raises:
        ModelRefusedError: If a member is a link or device, or leads out of the folder.
        ModelError: If there is no room for it.
        tarfile.TarError, OSError: If it is no archive, or cannot be read.
    """
    with tarfile.open(path, "r:*") as archive:
        members = [member for member in archive.getmembers() if Path(member.name).name != ALIGNER_WEIGHTS]
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise ModelRefusedError(f"{path}: refused to unpack it: {member.name!r} is no file or folder")
        needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise ModelError(
                f"{path} needs {size_text(needed)} to be unpacked in {folder.parent}, which has {size_text(free)} "
                "free: set TMPDIR to a folder with more room"
            )
        try:
            archive.extractall(folder, members=members, filter="data")
        except tarfile.FilterError as error:
            raise ModelRefusedError(f"{path}: refused to unpack it: {error}") from error
