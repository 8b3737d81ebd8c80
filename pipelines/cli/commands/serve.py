"""Translate live in the browser: speak into the page, hear the translation on the same connection.

GRAPH is a graph file, the name of a shipped graph, or a folder whose live graphs (those from webrtc_src to webrtc_sink)
the page offers; without it the shipped ones. Edited files hold for new sessions at once; one that runs keeps its graph
until the new version is chosen, on the page with "Use the new one", and then changes in a pause.
Microphones work on this machine, and from others over https alone: give a certificate, or put a proxy in front.

The environment may hold what should not stand in a process list: TOLMACH_TOKEN, TOLMACH_TURN_USERNAME and
TOLMACH_TURN_CREDENTIAL. Exit status: 0 stopped, 2 the command or the graph is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tolmach.pipelines.cli.options import add_model_host, whole_number
from tolmach.pipelines.language.launch_line import is_line
from tolmach.pipelines.model_host import is_place
from tolmach.pipelines.shipped import config_dir, shipped_graph

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = "tolmach.web.settings:ServerSettings"
SERVE = "tolmach.web.server:serve"
"""By name, because the engine may not import the floors above it."""

DEFAULT_GRAPH = "phrasebook-live"
"""Of the shipped graphs the one that runs everywhere and needs no download."""

LOG_LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="file, shipped name or folder; default: all shipped")
    parser.add_argument(
        "--default-graph",
        metavar="NAME",
        help="what the page begins with; default: phrasebook-live, of a given folder the first by name",
    )
    parser.add_argument(
        "--host",
        action=_Host,
        default="127.0.0.1",
        help="address to listen on; default: 127.0.0.1 (ray...: --model-host)",
    )
    add_model_host(parser, short=False)
    parser.add_argument("--port", type=whole_number(0, 65_535), default=8000, help="default: 8000; 0: any free one")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--token", metavar="T", help="what clients must show; default: TOLMACH_TOKEN")
    access.add_argument("--no-token", action="store_true", help="let everybody in who can reach the address")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="DOOR",
        help="do without a way in besides the page's own: openai, rooms, websocket or whip; repeatable",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM), for https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a page elsewhere that may use this server, or the name of a proxy in front; may be repeated",
    )
    parser.add_argument("--max-sessions", type=whole_number(1, 1000), default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--max-sessions-per-address", type=whole_number(1, 1000), metavar="N", help="of one client; default: no limit"
    )
    parser.add_argument(
        "--max-listeners",
        type=whole_number(1, 10_000),
        default=64,
        metavar="N",
        help="who hear others' sessions, at a time; default: 64",
    )
    parser.add_argument(
        "--offers-per-minute", type=whole_number(1, 10_000), default=30, metavar="N", help="of one client; default: 30"
    )
    parser.add_argument(
        "--max-connections",
        type=whole_number(4, 100_000),
        default=512,
        metavar="N",
        help="TCP connections at a time, half of them from one client; default: 512",
    )
    parser.add_argument(
        "--max-files",
        type=whole_number(1, 64),
        default=1,
        metavar="N",
        help="recordings sent to /v1/audio that are worked on at a time; default: 1",
    )
    parser.add_argument(
        "--max-file-mb", type=whole_number(1, 10_000), default=100, metavar="N", help="size of one, MiB; default: 100"
    )
    parser.add_argument(
        "--max-session-minutes", type=whole_number(1, 1440), default=120, metavar="N", help="default: 120"
    )
    parser.add_argument(
        "--idle-minutes", type=whole_number(1, 1440), default=10, metavar="N", help="end without speech; default: 10"
    )
    parser.add_argument(
        "--trust-params",
        action="store_true",
        help="let clients give every param, so also choose models and files of this machine",
    )
    parser.add_argument(
        "--ice-server", action="append", default=[], metavar="URL", help="stun:… or turn:…; may be repeated"
    )
    parser.add_argument("--udp-ports", type=_port_range, metavar="A-B", help="ports for media; default: any")
    parser.add_argument(
        "--advertise",
        action="append",
        default=[],
        metavar="IP",
        help="address of this machine that it does not know itself (NAT, container); may be repeated",
    )
    parser.add_argument(
        "--server-id",
        metavar="NAME",
        help="one of several behind a proxy: its name, which ids of sessions begin with; lower case, as in a host name",
    )
    parser.add_argument(
        "--linger-minutes",
        type=whole_number(0, 1440),
        default=0,
        metavar="N",
        help="how long sessions may go on when the server is asked to stop; new ones begin elsewhere; default: 0",
    )
    parser.add_argument("--no-warm", action="store_true", help="load models with the first session, not at the start")
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: info")


class _Host(argparse.Action):
    """Other commands call their model host ``--host`` too, so ``ray:...`` is taken for one; it is no address."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, "model_host" if is_place(values) else "host", values)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; returns the exit status."""
    settings = _named(SETTINGS)(**settings_from(args, os.environ))
    # Heavy imports (torch, pipecat, aiortc) only now: a wrong command answers at once.
    status: int = _named(SERVE)(settings)
    return status


def settings_from(args: argparse.Namespace, env: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of the server's settings.

    Raises:
        GraphError: If there is no such graph.
    """
    token = args.token if args.token is not None else (env.get("TOLMACH_TOKEN") or None)
    return {
        "graphs": _graphs(args.graph),
        "default_graph": args.default_graph or (DEFAULT_GRAPH if args.graph is None else None),
        "trust_params": args.trust_params,
        "host": args.host,
        "port": args.port,
        "token": None if args.no_token else token,
        "open_to_all": args.no_token,
        "tls_cert": args.tls_cert,
        "tls_key": args.tls_key,
        "allowed_origins": tuple(args.allow_origin),
        "without": tuple(args.without),
        "max_sessions": args.max_sessions,
        "max_sessions_per_address": args.max_sessions_per_address,
        "max_listeners": args.max_listeners,
        "offers_per_minute": args.offers_per_minute,
        "max_connections": args.max_connections,
        "max_files": args.max_files,
        "max_file_bytes": args.max_file_mb * 2**20,
        "max_session_s": args.max_session_minutes * 60,
        "idle_s": args.idle_minutes * 60,
        "ice_urls": tuple(args.ice_server),
        "turn_username": env.get("TOLMACH_TURN_USERNAME") or None,
        "turn_credential": env.get("TOLMACH_TURN_CREDENTIAL") or None,
        "udp_ports": args.udp_ports,
        "advertised_addresses": tuple(args.advertise),
        "server_id": args.server_id,
        "linger_s": args.linger_minutes * 60,
        "warm": not args.no_warm,
        "log_level": args.log_level,
    }


def _graphs(name: str | None) -> Path:
    if name is None:
        return config_dir()
    from tolmach.pipelines.errors import GraphError

    if is_line(name):
        raise GraphError(
            "a server watches graph files; write the line as one: tolmach launch LINE --print-yaml > my.yaml"
        )
    path = Path(name)
    return path if path.is_dir() else shipped_graph(name)


def _port_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise argparse.ArgumentTypeError("write it as FIRST-LAST, for example 40000-40100")
    return int(first), int(last)


def _named(target: str) -> Callable[..., Any]:
    module, _, attribute = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found
