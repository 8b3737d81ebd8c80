"""OpenAI's API: what its SDKs speak to finds the same graphs here, below ``/v1``.

``realtime/translations`` translates live (:mod:`tolmach.web.doors.openai.realtime`), ``audio`` takes files. A ``model``
is a graph.
"""

from __future__ import annotations

from fastapi import FastAPI

from tolmach.web.doors.openai.errors import install_openai_errors
from tolmach.web.doors.openai.files import add_files
from tolmach.web.doors.openai.models import add_models
from tolmach.web.doors.openai.realtime.routes import add_realtime
from tolmach.web.doors.openai.speech import add_speech
from tolmach.web.service import Service
from tolmach.web.settings import ServerSettings

__all__ = ["install"]


def install(app: FastAPI, settings: ServerSettings) -> None:
    """Add the routes below ``/v1``."""
    install_openai_errors(app)
    service: Service = app.state.service
    add_models(app, service)
    for jobs in (add_files(app, settings, service), add_speech(app, service)):
        service.parts.append(jobs)
        service.metrics.jobs[jobs.what] = jobs.figures
    add_realtime(app, settings)
