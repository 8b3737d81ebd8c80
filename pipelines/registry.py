"""Which element types exist: built-ins, third parties, and what a caller adds or takes away.

A registry is a value: :meth:`Registry.extended` and :meth:`Registry.without` return another one. Built-in elements are
lazy strings, so that naming them costs nothing; third parties arrive through the entry-point group
``tolmach.elements``, each entry point naming an :class:`~tolmach.pipelines.element.ElementSpec` or a tuple of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tolmach.pipelines.element import Element, ElementSpec
from tolmach.pipelines.errors import ModelMissingError, TolmachError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "tolmach.elements"

BUILTINS: Mapping[str, str] = {
    "app_sink": "tolmach.pipelines.builtin.app:APP_SINK",
    "app_src": "tolmach.pipelines.builtin.app:APP_SRC",
    "canary_ast": "tolmach.processors.canary.spec:SPEC",
    "caption_sink": "tolmach.transports.webrtc.spec:CAPTION_SINK",
    "capsfilter": "tolmach.pipelines.builtin.pass_through:CAPSFILTER",
    "espeak_tts": "tolmach.processors.espeak.spec:SPEC",
    "fake_sink": "tolmach.pipelines.builtin.trial_ends:FAKE_SINK",
    "file_sink": "tolmach.transports.files.specs:FILE_SINK",
    "file_src": "tolmach.transports.files.specs:FILE_SRC",
    "funnel": "tolmach.pipelines.builtin.funnel:SPEC",
    "identity": "tolmach.pipelines.builtin.pass_through:IDENTITY",
    "jsonl_sink": "tolmach.transports.files.specs:JSONL_SINK",
    "mix": "tolmach.processors.mix.spec:SPEC",
    "pipecat": "tolmach.pipelines.runtime.pipecat.spec:SPEC",
    "queue": "tolmach.pipelines.builtin.queue:SPEC",
    "resample": "tolmach.processors.resample.spec:SPEC",
    "silero_tts": "tolmach.processors.silero.spec:SPEC",
    "silero_vad": "tolmach.processors.vad.spec:SILERO",
    "subtitle_sink": "tolmach.transports.files.specs:SUBTITLE_SINK",
    "tee": "tolmach.pipelines.builtin.pass_through:TEE",
    "test_src": "tolmach.pipelines.builtin.trial_ends:TEST_SRC",
    "webrtc_sink": "tolmach.transports.webrtc.spec:WEBRTC_SINK",
    "webrtc_src": "tolmach.transports.webrtc.spec:WEBRTC_SRC",
    "webrtc_vad": "tolmach.processors.vad.spec:WEBRTC",
    "whisper_ast": "tolmach.processors.whisper.spec:SPEC",
}
"""Type name → ``module:attribute`` of its spec. Strings, because the engine may not import the floors above it."""


class RegistryError(TolmachError):
    """An element type is declared twice, or a declaration does not give a spec."""


class Entry(NamedTuple):
    """Where a type comes from.

    Attributes:
        target: ``module:attribute`` of the spec.
        origin: Distribution that declares it (``tolmach`` for built-ins).
        version: Its version, or "".
        spec: The spec itself when it was given directly.
    """

    target: str
    origin: str
    version: str = ""
    spec: ElementSpec | None = None


class Registry:
    """An immutable set of element types.

    Args:
        entries: Where the types come from, by name.
        installed: Whether what installed distributions add belongs to it, too. They are asked when a type is wanted
            that is not among ``entries``, or all types are: reading what each says costs a tenth of `tolmach check`.
    """

    def __init__(self, entries: Mapping[str, Entry], *, installed: bool = False) -> None:
        self._own = dict(entries)
        self._installed = installed

    @classmethod
    def builtin(cls) -> Registry:
        """Only what Tolmach ships."""
        return cls({name: Entry(target, "tolmach") for name, target in BUILTINS.items()})

    @classmethod
    def default(cls) -> Registry:
        """What Tolmach ships and what installed distributions add."""
        return cls(cls.builtin()._own, installed=True)

    def extended(self, *specs: ElementSpec, origin: str = "caller") -> Registry:
        """This registry and more types.

        Raises:
            RegistryError: If a type exists already; see also :meth:`get`.
        """
        entries = dict(self._all())
        for spec in specs:
            _add(entries, spec.type, Entry(spec.build, origin, spec=spec))
        return Registry(entries)

    def without(self, *types: str) -> Registry:
        """This registry less some types (unknown ones are ignored)."""
        return Registry({k: v for k, v in self._all().items() if k not in types})

    def get(self, element_type: str) -> ElementSpec:
        """The spec of a type; imports its (cheap) spec module.

        Raises:
            KeyError: If there is no such type.
            RegistryError: If what the registry names is not a spec of that type, two distributions declare one type, or
                an entry point gives no spec.
        """
        entry = self.entry(element_type)
        if entry.spec is not None:
            return entry.spec
        spec = _load(entry.target)
        if not isinstance(spec, ElementSpec) or spec.type != element_type:
            raise RegistryError(f"{entry.origin}: {entry.target} is not the spec of {element_type!r}")
        return spec

    def entry(self, element_type: str) -> Entry:
        """Where a type comes from. Raises KeyError, and RegistryError as :meth:`get`."""
        found = self._own.get(element_type)
        return found if found is not None else self._all()[element_type]

    def _all(self) -> Mapping[str, Entry]:
        return _with_installed(self._own) if self._installed else self._own

    def __contains__(self, element_type: object) -> bool:
        return element_type in self._own or element_type in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())


def _with_installed(own: Mapping[str, Entry]) -> Mapping[str, Entry]:
    entries = dict(own)
    for name, entry in _installed().items():
        _add(entries, name, entry)
    return entries


@cache
def _installed() -> Mapping[str, Entry]:
    from importlib.metadata import entry_points

    entries: dict[str, Entry] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: (p.name, p.value)):
        origin, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
        for spec in _specs(point, origin):
            _add(entries, spec.type, Entry(point.value, origin, version, spec))
    return entries


def _specs(point: EntryPoint, origin: str) -> tuple[ElementSpec, ...]:
    try:
        loaded = point.load()
    except Exception as error:  # somebody else's module; whatever it raises, every command would end in a traceback
        raise RegistryError(
            f"{origin}: entry point {point.name} = {point.value} cannot be imported "
            f"({type(error).__name__}: {error}); {_way_out(error, origin)}"
        ) from error
    specs = loaded if isinstance(loaded, tuple) else (loaded,)
    if not specs or not all(isinstance(s, ElementSpec) for s in specs):
        raise RegistryError(f"{origin}: entry point {point.name} = {point.value} gives no ElementSpec")
    return specs


def _way_out(error: Exception, origin: str) -> str:
    room = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and room in ("pipelines", "processors", "transports", "web"):
        return f"it is older than the name tolmach.{room}: update or uninstall {origin}"
    return f"update or uninstall {origin}"


def _add(entries: dict[str, Entry], name: str, entry: Entry) -> None:
    if name in entries:
        raise RegistryError(
            f"element type {name!r} is declared twice: by {entries[name].origin} and by {entry.origin}; "
            "uninstall one of them or rename its type"
        )
    entries[name] = entry


def _load(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load_runtime(spec: ElementSpec) -> type[Element]:
    """Import the runtime class a spec names.

    Raises:
        ModelMissingError: If packages it needs are not installed; says what installs them.
        TypeError: If ``spec.build`` is not an :class:`Element`.
    """
    if spec.extra is not None and not spec.extra.installed:
        raise ModelMissingError(f"{spec.type} needs packages that are not installed here: {spec.extra.command}")
    module, _, name = spec.build.partition(":")
    runtime = getattr(importlib.import_module(module), name)
    if not (isinstance(runtime, type) and issubclass(runtime, Element)):
        raise TypeError(f"{spec.type}: build={spec.build!r} is not an Element")
    return runtime
