"""Doors: the protocols, besides the page's own, by which clients reach the same sessions and graphs.

Each is a module or a room here with one function, ``install(app, settings)``, which adds its routes. ``tolmach serve
--without NAME`` leaves one out. docs/DOORS.md says who comes by which.
"""

from __future__ import annotations

from importlib import import_module

from fastapi import FastAPI

from tolmach.web.settings import ServerSettings

__all__ = ["install_doors"]

_MODULES: dict[str, str] = {
    "openai": "tolmach.web.doors.openai",
    "rooms": "tolmach.web.doors.rooms",
    "websocket": "tolmach.web.doors.websocket",
    "whip": "tolmach.web.doors.whip",
}
"""Name of a door (see :data:`tolmach.web.settings.DOORS`) → its module."""


def install_doors(app: FastAPI, settings: ServerSettings) -> None:
    """Open every door that the server was not told to do without."""
    for name, module in _MODULES.items():
        if name not in settings.without:
            import_module(module).install(app, settings)
