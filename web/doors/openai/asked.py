"""What a request for the words of a recording asks: a form of OpenAI's, read piece by piece into a nameless file.

What can be done is done, what would change the answer and cannot be done is refused, and what only advises a model
(``prompt``, ``temperature``) is left aside and named in the header ``Tolmach-Ignored``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tolmach.web.doors.openai.errors import OpenAiError
from tolmach.web.doors.openai.headless import Task, Wish

__all__ = ["IGNORED", "Asked", "Format", "read_form"]

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]

IGNORED = "Tolmach-Ignored"
"""Header of an answer: fields of the request that had no effect."""

MAX_FIELDS = 100
MAX_FIELD_BYTES = 65_536
_LANGUAGE = re.compile(r"auto|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_KNOWN = {
    "file", "model", "language", "languages", "target_language", "response_format", "stream",
    "timestamp_granularities", "temperature", "prompt", "chunking_strategy", "include", "keywords",
    "known_speaker_names", "known_speaker_references",
}  # fmt: skip
_ADVICE = ("prompt", "keywords", "chunking_strategy")
"""What a graph takes from its own file: how speech is cut, which words it knows."""
_REFUSED = {
    "known_speaker_names": "no graph tells speakers apart",
    "known_speaker_references": "no graph tells speakers apart",
    "include": "the log-probabilities of tokens are not given; `avg_logprob` of verbose_json is that of a segment",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read and checked.

    Attributes:
        file: The recording; it has no name on disk.
        model: Name of the graph.
        wish: What is wanted of it.
        format: What the answer looks like.
        stream: Whether as events, utterance by utterance.
        ignored: Fields that have no effect.
    """

    file: UploadFile
    model: str
    wish: Wish
    format: Format
    stream: bool
    ignored: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's headers say of it."""
        return {IGNORED: ", ".join(self.ignored)} if self.ignored else {}


async def read_form(request: Request) -> FormData:
    """The form of a request; whoever gets it closes it, and the file is gone then.

    Raises:
        OpenAiError: 400 if it is none.

    Cancelled by: the client's going away, as starlette's ClientDisconnect.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise OpenAiError(400, "send the file as multipart/form-data", param="file", code="invalid_content_type")
    try:
        return await request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise OpenAiError(400, f"the form cannot be read: {error.detail}") from error


def parse(form: FormData, task: Task) -> Asked:
    """What a form asks.

    Raises:
        OpenAiError: 400, with the field it is about.
    """
    fields = _fields(form)
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise OpenAiError(400, "the form has no file: send the recording as `file`", param="file")
    if not file.size:
        raise OpenAiError(400, "the file is empty", param="file")
    if not (model := _one(fields, "model")):
        raise OpenAiError(400, "the form names no model: it is the name of a graph (GET /v1/models)", param="model")
    for name, why in _REFUSED.items():
        if fields.get(name):
            raise OpenAiError(400, f"{name}: {why}", param=name)
    ignored = [name for name in _ADVICE if fields.get(name)]
    if _temperature(fields) > 0:
        ignored.append("temperature")  # the search of every engine is deterministic
    ignored += sorted(name for name in fields if name not in _KNOWN)
    if task == "transcribe" and "target_language" in fields:
        ignored.append("target_language")
    _check_granularities(fields)
    target = _language(fields, "target_language") or "en"
    if target == "auto":
        raise OpenAiError(400, "target_language must be a language", param="target_language")
    wish = Wish(task, _source(fields), target)
    return Asked(file, model, wish, _format(fields), _stream(fields), tuple(map(_header_safe, ignored)))


def _fields(form: FormData) -> Mapping[str, list[str]]:
    """The texts of a form by name; a list is `name[]` or `name[0]` in clients' libraries."""
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.setdefault(re.sub(r"\[\w*\].*$", "", name), []).append(value)
    return fields


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    values = fields.get(name, [""])
    if len(values) > 1:
        raise OpenAiError(400, f"{name} is given {len(values)} times", param=name)
    return values[0].strip()


def _language(fields: Mapping[str, Sequence[str]], name: str) -> str | None:
    value = _one(fields, name)
    if value and not _LANGUAGE.fullmatch(value):
        raise OpenAiError(400, f"{name}: {value[:40]!r} is not a language tag such as en or pt-BR", param=name)
    return value.lower() or None


def _source(fields: Mapping[str, Sequence[str]]) -> str | None:
    given = _language(fields, "language")
    among = [value for value in fields.get("languages", []) if value.strip()]
    if given is None and len(among) == 1:
        return _language({"languages": among}, "languages")
    if given is None and len(among) > 1:
        raise OpenAiError(
            400, "several languages cannot be given: the graph says among which it finds one", param="languages"
        )
    return given


def _format(fields: Mapping[str, Sequence[str]]) -> Format:
    value = _one(fields, "response_format") or "json"
    if value not in get_args(Format):
        there = ", ".join(get_args(Format))
        raise OpenAiError(400, f"response_format: {value[:40]!r} is not one of {there}", param="response_format")
    return cast("Format", value)


def _stream(fields: Mapping[str, Sequence[str]]) -> bool:
    value = (_one(fields, "stream") or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise OpenAiError(400, f"stream: {value[:40]!r} is neither true nor false", param="stream")
    streamed = value in ("true", "1")
    if streamed and (shape := _format(fields)) not in ("json", "text"):
        raise OpenAiError(400, f"{shape} cannot be streamed; leave response_format out", param="stream")
    return streamed


def _temperature(fields: Mapping[str, Sequence[str]]) -> float:
    value = _one(fields, "temperature") or "0"
    try:
        temperature = float(value)
    except ValueError:
        temperature = -1
    if not 0 <= temperature <= 1:
        raise OpenAiError(400, f"temperature: {value[:40]!r} is not a number from 0 to 1", param="temperature")
    return temperature


def _check_granularities(fields: Mapping[str, Sequence[str]]) -> None:
    wanted = set(fields.get("timestamp_granularities", []))
    if not wanted:
        return
    name = "timestamp_granularities"
    if wanted - {"segment", "word"}:
        raise OpenAiError(400, f"{name} are segment and word", param=name)
    if _one(fields, "response_format") != "verbose_json":
        raise OpenAiError(400, f"{name} need response_format verbose_json", param=name)
    if "word" in wanted:
        raise OpenAiError(400, "no graph says when each word was said; segments have their times", param=name)


def _header_safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "?", name, flags=re.ASCII)[:40]


def on_disk(file: UploadFile) -> int:
    """The descriptor of an uploaded file, at its beginning; small ones are in memory until now. Blocks."""
    spooled = cast("tempfile.SpooledTemporaryFile[bytes]", file.file)
    spooled.rollover()
    spooled.flush()
    spooled.seek(0)
    return spooled.fileno()
