"""WHIP in, WHEP out: a broadcaster's tools publish speech, and players listen to its translation (docs/adr/0047).

``POST /whip/GRAPH`` (RFC 9725) begins a session with what a publisher sends: OBS, GStreamer, ffmpeg, a browser. ``POST
/whep/NAME`` (draft-ietf-wish-whep) lets any number of players hear that session's translation. Both exchange SDP as
it is, and are told by HTTP status how it went.
"""

from __future__ import annotations

from fastapi import FastAPI

from tolmach.web.doors.whip.problems import problem
from tolmach.web.doors.whip.routes import add_whep, add_whip
from tolmach.web.errors import add_error_shape
from tolmach.web.settings import ServerSettings

__all__ = ["install"]


def install(app: FastAPI, settings: ServerSettings) -> None:
    """Add the routes below ``/whip`` and ``/whep``."""
    for prefix in ("/whip/", "/whep/"):
        add_error_shape(app, prefix, problem)
    add_whip(app, app.state.service)
    add_whep(app, app.state.service)
