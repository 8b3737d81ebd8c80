"""Where the models of a process run: in its own threads, or on a Ray cluster; said by a graph or a command line.

::

    tolmach run --model-host ray:10.0.0.5:6379,replicas=4,num_gpus=0.25 GRAPH INPUT...

    version: 1
    host: ray:auto,replicas=2

A command line's word goes before a graph's, and without either models run in threads. Only values: what acts on them is
:class:`tolmach.processors.hosting.HostPool` (docs/RAY.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from tolmach.pipelines.errors import GraphError

__all__ = ["THREADS", "HostPlace", "choose", "chosen", "is_place"]


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where models run, and with how much of it.

    Attributes:
        kind: ``thread``: in this process; ``ray``: in actors of a Ray cluster.
        address: The cluster: ``HOST:PORT``, ``auto`` for the one this machine belongs to, ``local`` for a new one on
            this machine that ends with the process; empty for ``RAY_ADDRESS``, else ``auto``, else ``local``.
        replicas: Copies of each model, each in a process of its own.
        num_gpus: GPUs of each copy, a fraction if several share one; None for one where the cluster has any, else none.
        num_cpus: CPUs that Ray counts for each copy, which then computes with as many threads; 0 counts none, and the
            model takes the machine's cores as it would here.
        models: Folder, on the workers, of model files by name, for those that do not lie where they lie here.
        deadline_s: Longest that a request may take, s; it is answered with an error then.
        wait_s: Longest to wait until the cluster has room for a copy, s.
        idle_s: How long a copy stays loaded when no process uses it any more, s.
    """

    kind: Literal["thread", "ray"] = "thread"
    address: str = ""
    replicas: int = 1
    num_gpus: float | None = None
    num_cpus: float = 0.0
    models: str = ""
    deadline_s: float = 300.0
    wait_s: float = 120.0
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise GraphError(f"{name} of a model host must be between {low:g} and {high:g}, got {value:g}")
        if self.num_gpus is not None and self.num_gpus > 1 and not float(self.num_gpus).is_integer():
            raise GraphError(f"num_gpus of a model host above one must be a whole number, got {self.num_gpus:g}")

    @classmethod
    def parse(cls, text: str) -> HostPlace:
        """Read ``thread``, or ``ray[:ADDRESS][,name=value]...``.

        Raises:
            GraphError: If it is something else.
        """
        where, *given = text.strip().split(",")
        kind, colon, address = where.strip().partition(":")
        if kind == "thread":
            if colon or given:
                raise GraphError(f"model host {text!r}: thread takes no address and no options")
            return THREADS
        if kind != "ray" or (colon and not address):
            raise GraphError(f"model host {text!r} is neither thread nor ray[:ADDRESS][,name=value]...; {_EXAMPLE}")
        from tolmach.pipelines import cluster  # every graph imports this module, few name a cluster

        try:
            cluster.parse_address(address)
        except ValueError as error:
            raise GraphError(f"model host {text!r}: {error}") from None
        values: dict[str, object] = {}
        for each in given:
            name, equals, value = (part.strip() for part in each.partition("="))
            if name not in _OPTIONS or not equals:
                import difflib

                near = difflib.get_close_matches(name, _OPTIONS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"options are {', '.join(_OPTIONS)}; {_EXAMPLE}"
                raise GraphError(f"model host {text!r} has no option {each.strip()!r}; {hint}")
            try:
                values[name] = _OPTIONS[name](value)
            except ValueError:
                kind_of = "a whole number" if _OPTIONS[name] is int else "a number"
                raise GraphError(f"model host {text!r}: {name} must be {kind_of}, got {value!r}") from None
        return cls("ray", address, **values)  # type: ignore[arg-type]  # by the table below

    def __str__(self) -> str:
        default = {each.name: each.default for each in fields(self)}
        given = [f"{name}={getattr(self, name)}" for name in _OPTIONS if getattr(self, name) != default[name]]
        return ",".join([f"{self.kind}{':' * bool(self.address)}{self.address}", *given])


_EXAMPLE = "for example ray:auto,replicas=2,num_gpus=0.5"
_OPTIONS = {
    "replicas": int,
    "num_gpus": float,
    "num_cpus": float,
    "models": str,
    "deadline_s": float,
    "wait_s": float,
    "idle_s": float,
}
_RANGES = {
    "replicas": (1, 1000),
    "num_gpus": (0.0, 64.0),
    "num_cpus": (0.0, 1024.0),
    "deadline_s": (0.1, 86_400.0),
    "wait_s": (1.0, 86_400.0),
    "idle_s": (1.0, 86_400.0),
}

THREADS = HostPlace()
"""In this process, as without any word about it."""

_chosen: HostPlace | None = None


def choose(place: HostPlace | None) -> None:
    """Settle where the models of this process run, whatever its graphs say; None leaves it to them.

    What a command line does, once, before any model is asked for.
    """
    global _chosen
    _chosen = place


def chosen(by_graph: HostPlace | None = None) -> HostPlace:
    """Where a graph's models run: by the command line, else by the graph, else in threads."""
    return _chosen or by_graph or THREADS


def is_place(text: str) -> bool:
    """Whether a text names a model host, as opposed to an address to listen on."""
    return text in ("thread", "ray") or text.startswith(("ray:", "ray,"))
