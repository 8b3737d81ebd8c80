"""The element contract: a cheap spec, a heavy runtime.

An :class:`ElementSpec` says everything the tools need to check, draw and document an element and imports nothing heavy.
The :class:`Element` it names in ``build`` is imported only when a graph is built. Neither knows pipecat:
:mod:`tolmach.pipelines.runtime.lower` wraps each element in a pipecat frame processor.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tolmach.pipelines.caps import Caps
from tolmach.pipelines.errors import ElementError, TolmachError
from tolmach.pipelines.model_host import HostPlace

if TYPE_CHECKING:
    # Not at run time: frames bring numpy, half of what `tolmach check` would then spend on imports.
    from tolmach.pipelines.bus import Message
    from tolmach.pipelines.frames import Frame

__all__ = [
    "END_NS",
    "Context",
    "Element",
    "ElementSpec",
    "Field",
    "Heard",
    "Live",
    "Missing",
    "Pad",
    "Settings",
    "SourceElement",
    "heard_languages",
    "is_live_setting",
    "output_paths",
]

Direction = Literal["sink", "src"]
Presence = Literal["always", "request"]
OnError = Literal["fail", "skip", "restart"]
ElementRole = Literal["microphone", "detector", "engine", "voice"]
"""What an element is for people: where speech comes from, what finds it, what turns it into text, what speaks."""

END_NS = 2**63 - 1
"""The media time after which nothing comes: the progress of a sink pad that has ended, ns."""


class Settings(BaseModel):
    """Base of every element's settings: frozen, no unknown fields, defaults checked.

    Give each field a description, its range (``gt``, ``ge``, …) and a name that ends in its unit (``_ms``, ``_hz``,
    ``_db``, ``_ns``). A field that changes what travels over the pads must be used by the spec's ``pads`` function.
    """

    # Built when first used: a module declares more models than a graph needs, and `tolmach check` has 0.15 s.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)

    def choices_of(self, name: str) -> tuple[Any, ...]:
        """What setting ``name`` may be, the others being as they are; empty where its type says it, or nothing does.

        Override it for what is known only from other settings, such as the speakers of the model that was chosen:
        people are offered these values. A look must be cheap and import nothing heavy. What is not among them is for a
        validator to refuse.
        """
        return ()


class _LiveMark:
    """On a field: a client of a live server may change it."""


_Value = TypeVar("_Value")

Live = Annotated[_Value, _LiveMark()]
"""The type of a setting that whoever uses a live server may change while a graph runs: ``hangover_ms: Live[int]``.

Nothing is live that does not say so (as in GStreamer, where ``GST_PARAM_MUTABLE_PLAYING`` is declared on a property).
A program changes it with ``await graph.set("vad.hangover_ms", 700)``, which the element is told by
:meth:`Element.change_settings`; it must not change what travels over the pads.
Declare what people hear or see: pauses, thresholds, who speaks. Never paths, models, devices, or how much of the
machine is used: strangers may give the value. It is a number, a boolean, a ``Literal`` or a string."""


def is_live_setting(settings: SettingsType, name: str) -> bool:
    """Whether there is a setting of that name, and it is declared as :data:`Live`."""
    return name in _marked(settings, _LiveMark)


class _OutputMark:
    """On a field: a path that the element writes."""


Output = Annotated[_Value, _OutputMark()]
"""The type of a setting that names a file the element writes: ``path: Output[str]``. No two elements of a graph may
write one file; `tolmach check` finds it before an hour is lost."""


def output_paths(settings: Settings) -> dict[str, str]:
    """The files that an element with these settings writes, by the name of the setting."""
    marked = _marked(type(settings), _OutputMark)
    return {name: value for name in marked if isinstance(value := getattr(settings, name), str)}


class _HeardMark:
    """On a field: the language that the element expects to hear."""


Heard = Annotated[_Value, _HeardMark()]
"""The type of a setting that names the language an element expects to hear, a BCP-47 tag: ``source_lang: Heard[str]``.
Where that may be ``auto``, the languages that it is found among are ``languages: Heard[tuple[str, ...]]``. What stands
before the element is told (:attr:`Context.languages`): of a film ``file_src`` takes that sound track."""


def heard_languages(settings: Settings) -> tuple[str, ...]:
    """The languages that an element with these settings expects to hear, in the order of declaration."""
    values = [getattr(settings, name) for name in _marked(type(settings), _HeardMark)]
    given = tuple(value for value in values if isinstance(value, str))
    if "auto" not in given:
        return given
    found_among = [lang for value in values if isinstance(value, tuple) for lang in value]
    return tuple(dict.fromkeys([*(lang for lang in given if lang != "auto"), *found_among]))


@dataclass(frozen=True, slots=True)
class CodeMark:
    """On a field: what it names is imported and called, so only who writes the graph may say it.

    A graph in which such a value is made from a param that may be anything is refused: its choices must be listed, or
    whoever may give params could run what they like.

    Attributes:
        key: The key under which a name of code stands, at any depth; empty when the value itself is one.
    """

    key: str = ""


def code_settings(settings: SettingsType) -> Mapping[str, CodeMark]:
    """The settings that name code, with where in them."""
    fields = settings.model_fields.items()
    marks = {name: [each for each in field.metadata if isinstance(each, CodeMark)] for name, field in fields}
    return {name: found[0] for name, found in marks.items() if found}


def _marked(settings: SettingsType, mark: type) -> list[str]:
    """Names of the settings whose fields carry a mark."""
    fields = settings.model_fields.items()
    return [name for name, field in fields if any(isinstance(each, mark) for each in field.metadata)]


SettingsType: TypeAlias = type[Settings]
"""Spelled out here because ``ElementSpec.type`` hides the builtin inside its class."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Where an element is linked.

    Attributes:
        name: ``sink``, ``src``, or ``src_%u`` / ``sink_%u`` for request pads.
        direction: ``sink`` takes frames in, ``src`` gives frames out.
        caps: What may travel here.
        presence: ``always`` pads exist from the start and must be linked (unless optional); a ``request`` pad template
            makes a new pad each time a link asks for one.
        like: Name of a sink pad (or sink template) whose negotiated caps this src pad repeats, except for the fields
            that ``caps`` itself constrains. None when the caps stand alone.
        like_drop: Fields that are not repeated and stay unconstrained unless ``caps`` says otherwise.
        dynamic: For src pads: the exact caps are known only when data flows (a file's rate), so a peer must accept all
            that is offered, not merely some of it.
        optional: An ``always`` pad that may stay unlinked.
    """

    name: str
    direction: Direction
    caps: Caps
    presence: Presence = "always"
    like: str | None = None
    like_drop: tuple[str, ...] = ()
    dynamic: bool = False
    optional: bool = False

    @classmethod
    def sink(cls, caps: str = "ANY", *, name: str = "sink", request: bool = False, optional: bool = False) -> Pad:
        """A pad that takes frames in."""
        return cls(name, "sink", Caps.parse(caps), "request" if request else "always", optional=optional)

    @classmethod
    def src(
        cls,
        caps: str = "ANY",
        *,
        name: str = "src",
        request: bool = False,
        optional: bool = False,
        like: str | None = None,
        like_drop: tuple[str, ...] = (),
        dynamic: bool = False,
    ) -> Pad:
        """A pad that gives frames out."""
        return cls(
            name, "src", Caps.parse(caps), "request" if request else "always", like, like_drop, dynamic, optional
        )


class Missing(NamedTuple):
    """Something an element needs that is not on this machine; names no path of it, for it is shown to strangers.

    Attributes:
        what: What is missing, for people: the name of a model.
        size_bytes: How much is to be downloaded, if that is known.
        remedy: What to do; empty where ``tolmach fetch`` gets it.
    """

    what: str
    size_bytes: int | None = None
    remedy: str = ""


class Voice(NamedTuple):
    """A voice that a type of element can speak with: a published model, for people who choose one.

    Attributes:
        name: What the element's ``model`` setting, or its like, takes.
        langs: BCP-47 tags of the languages it speaks.
        speakers: Its speakers, the usual one first; empty when it has but one without a name.
        rates_hz: Sample rates it can give, Hz.
        licence: Its terms.
        commercial: Whether they allow commercial use.
        size_bytes: Length of its file; None when nobody knows, or there is none.
        pinned: Whether it is loaded without a question; otherwise the user allows its SHA-256.
        url: Where it is published; "" when it comes with a package.
        path: Where it lies on this machine, or would after a download; None when it is no file of its own.
    """

    name: str
    langs: tuple[str, ...]
    speakers: tuple[str, ...] = ()
    rates_hz: tuple[int, ...] = ()
    licence: str = ""
    commercial: bool = False
    size_bytes: int | None = None
    pinned: bool = True
    url: str = ""
    path: Path | None = None


class Terms(NamedTuple):
    """The terms of something that an element loads.

    Attributes:
        what: What it loads, for people: the name of a model.
        licence: Its terms, by the usual short name.
        commercial: Whether they allow commercial use.
        instead: What to take where they do not, for people; "" where nobody knows.
    """

    what: str
    licence: str
    commercial: bool
    instead: str = ""


class Spoken(NamedTuple):
    """What a voice would say of a text.

    Attributes:
        text: As it is read out: numbers, signs and abbreviations in words.
        lost: Letters and digits that it cannot say, each once; normally empty.
    """

    text: str
    lost: str = ""


class Extra(NamedTuple):
    """Packages that only some elements need, and that an installation may lack.

    Attributes:
        requirement: What pip is asked for: ``tolmach[canary]``.
        modules: Top-level modules that it brings; all of them must be there.
    """

    requirement: str
    modules: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether all modules can be found; imports none of them."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install '{self.requirement}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementSpec:
    """All that is known about an element type without importing its runtime.

    Attributes:
        type: Name used in graphs; lower snake case. Sources and sinks are nouns, transforms verbs or engine names.
        summary: One sentence.
        settings: The settings model.
        pads: The pads, or a function from valid settings to them.
        build: ``module:Class`` of the runtime, imported when a graph is built.
        prefetch: ``module:function`` taking the settings, which downloads and verifies what the element needs.
        extra: Packages that its runtime needs beyond those of a plain installation, or None. Without them it is listed
            and checked, and says at start what to install.
        missing: What of the files it needs is not on this machine, from its settings and the folder that relative paths
            start from. It looks at names and sizes alone: a look takes milliseconds, imports nothing heavy, asks no
            network.
        settle: What the settings come to once it is known what travels over the pads, from the settings and the caps by
            pad name; ``missing`` and ``prefetch`` are asked with that. For an element that has more than this graph
            can make use of: of the voices for five languages the two that may come. None keeps them.
        terms: The terms of what it loads, from its settings; called where a graph is checked, imports nothing heavy.
            Leave out what its user brings: whose it is, only he knows. None where all may be used commercially.
        voices: The voices that a text-to-speech element knows by name, for people who choose one; called where they are
            listed, imports nothing heavy.
        voice_settings: The settings with which it speaks a language, from its BCP-47 tag and a voice: one of
            ``voices``, or whatever else its settings take (a path, an address), or None for the usual one. They are
            checked where they are used; imports nothing heavy.
        speaks: The voice of each language that may come, by its settings: what ``voices`` calls it, or a name, path or
            variant of its own.
        spoken: ``module:function`` taking the settings and a text, which says what the voice would say of it
            (:class:`Spoken`) without loading a model; imported when asked.
        on_error: Failure policy unless the graph says otherwise: ``fail`` the graph, ``skip`` the utterance in hand, or
            ``restart`` the element.
        live: Whether a source produces at the pace of the world rather than as fast as it is asked.
        role: What it is for people, who find its settings under that word; None leaves it to what its pads take and
            give (audio cut into utterances is a detector's, speech to text an engine's, text to speech a voice's).
        doc: Longer description, Markdown.
        timed: Whether a sink lays out what it gets by media time, and so wants it in that order.
        passthrough: Whether every frame leaves as it came (a tee, a queue): texts are then told from the pad before it.
        deterministic: Whether the same media give the same output in every run; what asks a service elsewhere, or
            looks at the clock, says False.
        licence: Licence or terms of what the element loads at run time, for people to see; empty when nobody has
            declared any.
        example: A YAML flow mapping that shows typical use.
    """

    type: str
    summary: str
    settings: SettingsType
    pads: tuple[Pad, ...] | Callable[[Any], tuple[Pad, ...]]
    build: str
    prefetch: str | None = None
    extra: Extra | None = None
    missing: Callable[[Any, Path], tuple[Missing, ...]] | None = None
    settle: Callable[[Any, Mapping[str, Caps]], Settings] | None = None
    terms: Callable[[Any], tuple[Terms, ...]] | None = None
    voices: Callable[[], tuple[Voice, ...]] | None = None
    voice_settings: Callable[[str, str | None], Mapping[str, Any]] | None = None
    speaks: Callable[[Any], Mapping[str, str]] | None = None
    spoken: str | None = None
    on_error: OnError = "fail"
    live: bool = False
    role: ElementRole | None = None
    timed: bool = False
    passthrough: bool = False
    deterministic: bool = True
    doc: str = ""
    licence: str = ""
    example: str = ""

    def pads_for(self, settings: Settings | None = None) -> tuple[Pad, ...]:
        """The pads for these settings (the defaults when None)."""
        if isinstance(self.pads, tuple):
            return self.pads
        return self.pads(settings if settings is not None else self.settings())


class Push(Protocol):
    """How an element hands a frame to whatever is linked behind one of its src pads."""

    async def __call__(self, frame: Frame, pad: str = "src") -> None:
        """Return once the frame was taken; waiting here is back-pressure."""


class Progress(Protocol):
    """How an element says how far a stream has come where it pushes nothing: GStreamer's GAP, Flink's watermark."""

    async def __call__(self, time_ns: int, pad: str | None = None) -> None:
        """Say that no frame with an earlier ``pts_ns`` will be pushed to any src pad.

        With ``pad`` that is what sink pad ``pad`` said: the least of what all sink pads said goes on. Saying less than
        before changes nothing. Costs next to nothing where nobody behind wants to know.
        """


async def _nobody(time_ns: int, pad: str | None = None) -> None:
    """Nobody wants to know how far the stream has come."""


class Post(Protocol):
    """How an element posts on the bus."""

    def __call__(self, message: Message) -> None:
        """Post it; the names of element and graph are filled in."""


class Spawn(Protocol):
    """How an element starts a task of its own."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run it until it ends, the element stops, or it fails, which meets the element's failure policy."""


def _nothing() -> None:
    """Nobody measures."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the graph gives an element.

    Attributes:
        name: The element's name in the graph.
        graph: The graph's name.
        push: Hands a frame downstream.
        post: Posts on the bus.
        spawn: Starts a task.
        caps: Negotiated caps by pad name.
        base_dir: Folder that relative paths in settings start from (the current folder for ``tolmach run``).
        overwrite: Whether sinks may replace existing files.
        languages: What the elements behind this one expect to hear (their :data:`Heard` settings), BCP-47, each once.
        at_rest: Whether no element of the graph is in the middle of an utterance (:attr:`Element.mid_utterance`); a
            live source may be handed to another graph then.
        busy: Says that work of the element goes on outside its methods (on a model host, in an executor) until what it
            returns is called; only figures for people depend on it. :class:`tolmach.pipelines.ordered.OrderedJobs` does
            it.
        progress: Says how far the stream has come, see :meth:`Element.progress`.
        sources: By sink pad, the names of the sources that feed it; pads without a common source do not wait for each
            other anywhere upstream.
        live: Whether one of these sources keeps the pace of the world.
        resources: What the runner was handed for its elements, by name: see :meth:`resource`.
        failure: What the graph ends with, if not well: what failed it, or that it was cancelled.
        host: Where the graph wants its models to run; None leaves it to the process.
    """

    name: str
    graph: str
    push: Push
    post: Post
    spawn: Spawn
    caps: Mapping[str, Caps] = field(default_factory=dict)
    base_dir: Path = field(default_factory=Path.cwd)
    overwrite: bool = True
    languages: tuple[str, ...] = ()
    at_rest: Callable[[], bool] = lambda: True
    busy: Callable[[], Callable[[], None]] = lambda: _nothing
    progress: Progress = _nobody
    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    live: bool = False
    resources: Mapping[str, object] = field(default_factory=dict)
    failure: Callable[[], TolmachError | None] = lambda: None
    host: HostPlace | None = None

    def error(self, text: str, pts_ns: int | None = None) -> ElementError:
        """What to raise when the element cannot do its work.

        Args:
            text: What is wrong and what to do about it, for people.
            pts_ns: Media time of the frame in hand, ns; None outside a frame.
        """
        return ElementError(text, element=self.name, graph=self.graph, pts_ns=pts_ns)

    def resource(self, name: str, kind: type[_Value]) -> _Value | None:
        """What the runner was handed under ``name``, or None: a session's line, an endpoint of an application.

        It belongs to whoever made it; an element uses it and never closes it.

        Raises:
            TypeError: If it is something else than ``kind``.
        """
        found = self.resources.get(name)
        if found is not None and not isinstance(found, kind):
            raise TypeError(f"{self.name}: resource {name!r} is a {type(found).__name__}, not a {kind.__name__}")
        return found


class Element:
    """Runtime of one element in one graph.

    Life: ``__init__`` (cheap, no I/O) → :meth:`start` → perhaps :meth:`warm` → any number of :meth:`process` →
    :meth:`drain` → :meth:`stop`. ``stop`` must be safe without ``start``, twice, and at any moment
    (cancel). All coroutines run on the graph's event loop and must not block it: heavy work goes through a model host
    or ``asyncio.to_thread``.

    ``process`` is never called concurrently for one element, except for elements with several sink pads, whose pads
    may be fed by different tasks.

    Attributes:
        wants_progress: Whether :meth:`progress` is of use to it; elements behind which none is are not told.
    """

    wants_progress = False

    def __init__(self, settings: Any, context: Context) -> None:
        self.settings = settings
        self.context = context

    async def start(self) -> None:
        """Acquire what the element needs (files, models). Raises a TolmachError when it cannot."""

    async def warm(self) -> None:
        """Run once on nothing in particular, so that the first real frame is not the slow one.

        Called after :meth:`start` by those who have the time, such as a server before it says that it is ready. Raises
        a TolmachError when what was started does not work.
        """

    async def process(self, frame: Frame, pad: str) -> None:
        """Take one frame from sink pad ``pad``; push any number of frames. The default passes it on."""
        await self.context.push(frame)

    async def progress(self, time_ns: int, pad: str) -> None:
        """Sink pad ``pad`` has come to media time ``time_ns`` (ns): no frame with an earlier ``pts_ns`` follows on it.

        Comes in order with the frames, and with :data:`END_NS` when the pad has ended and others have not. The default
        passes it on, which is right for whatever pushes its answer before ``process`` returns. An element that pushes
        later must keep it behind what it holds (:meth:`tolmach.pipelines.ordered.OrderedJobs.progress`), or a
        ``funnel`` further down lets others go first.
        """
        await self.context.progress(time_ns, pad)

    async def drain(self) -> None:
        """All sink pads are at their end: push what is still held. End of stream follows by itself."""

    async def stop(self) -> None:
        """Release everything; what was not finished is thrown away."""

    def reset(self, utterance: int | None) -> None:
        """Forget state about ``utterance`` (None: all) after a failure under the ``skip`` policy."""

    def change_settings(self, settings: Any) -> None:
        """Take other settings while the graph plays; only those declared :data:`Live` differ.

        The default replaces :attr:`settings`, which is right for whatever reads them when it needs them. An element
        that keeps what it made of them makes it anew here, for the next window or the next utterance, and not in the
        middle of one. Called on the event loop, between frames or while :meth:`process` waits; must not wait itself.

        Raises:
            TolmachError: If it cannot, in words; nothing may have changed then.
        """
        self.settings = settings

    @property
    def latency_ns(self) -> int:
        """Media time the element holds back in steady state, ns."""
        return 0

    @property
    def mid_utterance(self) -> bool:
        """Whether audio it has taken may be part of speech whose end it has not seen.

        Only what cuts a stream into utterances, or holds audio in front of that, need answer: were the stream to end
        now, a sentence would be cut in two.
        """
        return False


class SourceElement(Element):
    """An element without sink pads."""

    async def produce(self) -> None:
        """Push frames until the source is exhausted; returning means end of stream.

        Cancelled by: cancel of the graph. Must return soon after :meth:`finish` was called.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def finish(self) -> None:
        """Ask a source to end gracefully: stop producing and return from :meth:`produce`."""
