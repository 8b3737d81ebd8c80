"""Restores a ``.nemo`` file more carefully than NeMo does.

NeMo's own connector changes the *process's* working directory while it reads a model (a file sink that opens a relative
path at that moment writes into a temporary folder), lets the environment turn weights-only loading off, skips archive
members that lead out of the folder without a word, loads the aligner that only timestamps need with the model (a second
0.6 billion parameters for canary-1b-v2), unpacks gigabytes into a temporary folder, and holds all weights twice, in
main memory for the life of the process (the allocator keeps what ``torch.load`` took) and on a GPU while it loads. This
one does none of that; everything else is NeMo's.

**Memory.** The weights lie uncompressed in the archive, in PyTorch's zip format, uncompressed too. They are mapped
where they lie and copied into the model's own tensors, part by part: one anonymous copy, which does not depend on the
file any more. (Mapped tensors used as they are, ``assign=True``, would save that copy, but every page that the kernel
drops under pressure would be read from the disk in the middle of a sentence, and Windows would not let the file be
replaced.) Only a compressed archive has to be unpacked.
"""

from __future__ import annotations

import io
import mmap
import pickle
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from omegaconf import OmegaConf

from tolmach.pipelines.errors import ModelError, ModelRefusedError
from tolmach.pipelines.models.caches import size_text
from tolmach.processors.canary import precision
from tolmach.processors.canary.known import ALIGNER, MODEL, Part
from tolmach.processors.hosting.device import explain_out_of_memory, is_out_of_memory

# NeMo restores through a process-wide state (AppState): two at a time would mix their files up.
_RESTORING = threading.Lock()

PART_BYTES = 256 << 20
"""How much is copied between two reports of progress, bytes."""

Report = Callable[[str], None]


class Stored(NamedTuple):
    """Bytes in a file.

    Attributes:
        path: The file.
        offset: Where they begin.
        size: How many there are.
    """

    path: Path
    offset: int
    size: int


def restore(
    path: str | Path,
    base: Any,
    part: Part = MODEL,
    report: Report = lambda _: None,
    check_room: Callable[[int], None] = lambda _: None,
    called: str = "Canary model",
) -> Any:
    """A model of a ``.nemo`` file, on the CPU.

    Args:
        path: The file, or a folder that it was unpacked into.
        base: NeMo's class to restore with.
        part: Which of its models.
        report: Takes lines of progress.
        check_room: See :class:`Connector`.
        called: What it should be, for messages.

    Raises:
        ModelRefusedError: If the archive has a member that leads out of its folder.
        OutOfMemoryError: If it does not fit.
        ModelError: If it has no such model, or it is not usable.
    """
    connector = Connector(report, check_room, part)
    if Path(path).is_dir():
        connector.model_extracted_dir = str(path)
    with _RESTORING:
        try:
            # On the CPU first, also for a card: there it would stand twice.
            return base.restore_from(str(path), map_location=torch.device("cpu"), save_restore_connector=connector)
        except ModelError as error:
            if str(path) in str(error) or is_out_of_memory(error):
                raise
            raise ModelError(f"{path} is not a usable {called}: {error}") from error
        except Exception as error:
            if is_out_of_memory(error):
                raise explain_out_of_memory(error, f"loading {path}", f"what fits: {precision.SMALLER}") from error
            raise ModelError(f"{path} is not a usable {called}: {type(error).__name__}: {error}") from error


class Connector(SaveRestoreConnector):  # type: ignore[misc] # NeMo is untyped
    """Give it to ``restore_from(..., map_location="cpu", save_restore_connector=Connector(…))``.

    Args:
        report: Takes lines of progress.
        check_room: Called with the size of the weights, bytes, before anything is allocated; raises if they will not
            fit.
        part: Which model of the file.
    """

    def __init__(
        self,
        report: Report = lambda _: None,
        check_room: Callable[[int], None] = lambda _: None,
        part: Part = MODEL,
    ) -> None:
        super().__init__()
        self._report = report
        self._check_room = check_room
        self._part = part
        self.model_config_yaml, self.model_weights_ckpt = part

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
        """The configuration, a model built from it, and its weights as views of the file; called by NeMo.

        Raises:
            ModelRefusedError: If the archive has a member that leads out of its folder.
            ModelError: If it has to be unpacked and there is no room.
        """
        with tempfile.TemporaryDirectory(prefix="tolmach-nemo-") as temporary:
            if self.model_extracted_dir:
                folder = Path(self.model_extracted_dir)
                weights_file = folder / self._part.weights
                stored = Stored(weights_file, 0, weights_file.stat().st_size)
            else:
                folder = Path(temporary)
                stored = unpack(Path(restore_path), folder, self._report, self._part)
            self._check_room(stored.size)
            config = OmegaConf.load(folder / self.model_config_yaml)
            config = config.get("model", config)
            if self._part is MODEL:
                config.restore_timestamps_model = False
            OmegaConf.set_struct(config, True)
            calling_cls._set_model_restore_state(is_being_restored=True, folder=str(folder))
            try:
                weights = mapped(stored)
                instance = calling_cls.from_config_dict(config=config, trainer=trainer).to(map_location)
                if stored.path.is_relative_to(folder):
                    # Now, for the folder goes when this returns: a mapped file holds its room, or cannot be removed.
                    self.load_instance_with_state_dict(instance, weights, strict)
                    weights = {}
            except BaseException:
                calling_cls._set_model_restore_state(is_being_restored=False)
                raise
        return config, instance, weights

    def load_instance_with_state_dict(
        self, instance: Any, state_dict: Mapping[str, torch.Tensor], strict: bool
    ) -> None:
        """Copy the weights into the model part by part; called by NeMo.

        Raises:
            ModelError: If they are not this model's.
        """
        if state_dict:
            own = instance.state_dict().keys()
            for what, names in (("lacks", own - state_dict.keys()), ("has in excess", state_dict.keys() - own)):
                if names and strict:
                    raise ModelError(f"the checkpoint {what} {len(names)} tensors, the first {min(names)}")
            total = sum(tensor.nbytes for tensor in state_dict.values())
            done = 0
            for part in _parts(state_dict):
                self._report(f"reading the weights, {done * 100 // max(total, 1)} % of {size_text(total)}")
                instance.load_state_dict(part, strict=False)
                done += sum(tensor.nbytes for tensor in part.values())
        instance._set_model_restore_state(is_being_restored=False)


def _parts(weights: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    part: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in weights.items():
        part[name] = tensor
        size += tensor.nbytes
        if size >= PART_BYTES:
            yield part
            part, size = {}, 0
    yield part


def mapped(stored: Stored) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, as views of the mapped file; no code that it might hold is run.

    Raises:
        ModelError: If it is not in PyTorch's zip format (since 1.6), or cut short.
    """
    with stored.path.open("rb") as file:
        if not stored.size:
            raise ModelError("the checkpoint is empty")
        # "meta" reads the structure alone, and notes of each storage where it lies.
        try:
            section = io.BufferedReader(_Section(file, stored.offset, stored.size))
            described = torch.load(section, map_location="meta", weights_only=True)
        except pickle.UnpicklingError as error:  # with advice of PyTorch's that nobody should follow
            raise ModelError("its weights are damaged, or hold more than tensors; no code in them was run") from error
        # Copy on write, because PyTorch knows no tensors that cannot be written; nobody writes.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if not isinstance(described, dict) or not all(isinstance(value, torch.Tensor) for value in described.values()):
        raise ModelError("the checkpoint is no dictionary of tensors")
    return {name: _view(whole, stored, name, tensor) for name, tensor in described.items()}


def _view(whole: mmap.mmap, stored: Stored, name: str, tensor: torch.Tensor) -> torch.Tensor:
    storage = tensor.untyped_storage()
    at: int | None = getattr(storage, "_checkpoint_offset", None)
    if at is None:
        raise ModelError("the checkpoint is in PyTorch's format from before 1.6; load it with NeMo and save it again")
    if at + storage.nbytes() > stored.size or stored.offset + stored.size > len(whole):
        raise ModelError(f"the checkpoint is cut short: {name} is not all there")
    if not storage.nbytes():
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    flat = torch.frombuffer(
        whole, dtype=tensor.dtype, offset=stored.offset + at, count=storage.nbytes() // tensor.element_size()
    )
    return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


class _Section(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view)  # type: ignore[attr-defined]  # every binary file that open() returns has it
        self._at += count
        return int(count)


def unpack(path: Path, folder: Path, report: Report = lambda _: None, part: Part = MODEL) -> Stored:
    """Unpack a ``.nemo`` archive, less the weights of its other model, and these if they can be read where they are.

    Returns:
        Where the weights are: in the archive, or, if that is compressed, unpacked in the folder.

    Raises:
        ModelRefusedError: If a member is a link or device, or leads out of the folder.
        ModelError: If there is no room for it, or it has no weights.
        tarfile.TarError, OSError: If it is no archive, or cannot be read.
    """
    with tarfile.open(path, "r:*") as archive:
        plain = isinstance(archive.fileobj, io.BufferedReader)  # and no decompressor
        others = {each.weights for each in (MODEL, ALIGNER) if each is not part}
        members = [member for member in archive.getmembers() if Path(member.name).name not in others]
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise ModelRefusedError(f"{path}: refused to unpack it: {member.name!r} is no file or folder")
        weights = next((m for m in members if m.isfile() and Path(m.name).as_posix() == part.weights), None)
        if weights is not None and plain and not weights.issparse():
            members.remove(weights)
        needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise ModelError(
                f"{path} needs {size_text(needed)} to be unpacked in {folder.parent}, which has {size_text(free)} "
                "free: set TMPDIR to a folder with more room"
            )
        try:
            archive.extractall(folder, members=[member for member in members if member is not weights], filter="data")
        except tarfile.FilterError as error:
            raise ModelRefusedError(f"{path}: refused to unpack it: {error}") from error
        if weights is None:
            raise ModelError(f"it holds no {part.weights}")
        if weights not in members:
            return Stored(path, weights.offset_data, weights.size)
        packed = archive.extractfile(weights)
        if packed is None:  # cannot be: it is a file
            raise ModelError(f"{part.weights} cannot be read")
        with (folder / part.weights).open("xb") as out:
            while out.tell() < weights.size:
                report(f"unpacking into {folder.parent}, {out.tell() * 100 // weights.size} % of {size_text(needed)}")
                if not (block := packed.read(PART_BYTES)):
                    raise ModelError(f"{part.weights} is cut short")
                out.write(block)
        return Stored(folder / part.weights, 0, weights.size)
