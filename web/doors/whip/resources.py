"""A connection as WHIP and WHEP see it: a resource with an ICE session that can be told more and begun anew.

Both protocols say the same of it (RFC 9725, 4.3): ``PATCH`` with a fragment of SDP adds candidates, or restarts ICE if
the credentials are other ones. An entity tag names the ICE session, so that what was sent for an earlier one does not
disturb the present one.
"""

from __future__ import annotations

import asyncio
import secrets

from starlette.responses import Response

from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.sdp import Offer
from tolmach.transports.webrtc.signalling.sdpfrag import MEDIA_TYPE, answer_fragment, parse_fragment
from tolmach.web.errors import ApiError

__all__ = ["Resource", "Resources"]


class Resource:
    """A connection whose first offer was answered.

    Args:
        connection: The connection.
        offer: That offer.

    Attributes:
        etag: Names the ICE session of now (RFC 9110, 8.8.3), with its quotes.
    """

    def __init__(self, connection: Connection, offer: Offer) -> None:
        self.connection = connection
        self.etag = _new_tag()
        self._offer = offer
        self._patching = asyncio.Lock()

    async def patch(self, text: str, if_match: str | None) -> Response:
        """Take a fragment: 204 for candidates, 200 with ours after a restart.

        Args:
            text: The fragment.
            if_match: The header ``If-Match``: an entity tag for candidates, ``*`` for a restart.

        Raises:
            ApiError: 409 if the connection is gone, 412 if the tag is another one, 428 if there is none.
            SignallingError: If the fragment cannot be used; the connection stays as it is.
        """
        fragment = parse_fragment(text)
        if if_match is None:
            raise ApiError(
                428, "bad-request", "the request needs If-Match: the ETag it was answered with, or * to restart"
            )
        async with self._patching:
            if self.connection.closed.is_set():
                raise ApiError(409, "conflict", "the connection is gone; begin another session")
            wanted = [tag.strip() for tag in if_match.split(",")]
            if wanted != ["*"] and self.etag not in wanted:  # a weak one never matches (RFC 9110, 13.1.1)
                raise ApiError(412, "conflict", "that was for another ICE session than the one of now")
            given = (fragment.username, fragment.password)
            if given not in (("", ""), (self._offer.username, self._offer.password)):
                return await self._restart(*given, [candidate for candidate, _ in fragment.candidates])
            for candidate, mid in fragment.candidates:
                line = self._offer.line if mid is None else None
                await self.connection.add_candidate(candidate, mid=mid, line=line)
            return Response(status_code=204)

    async def _restart(self, username: str, password: str, candidates: list[str]) -> Response:
        offer = self._offer.restarted(username, password, candidates)
        answer = await self.connection.answer(offer)
        self._offer, self.etag = offer, _new_tag()
        return Response(answer_fragment(answer), 200, {"ETag": self.etag}, MEDIA_TYPE)


class Resources:
    """Resources by the id in their address; those whose connection is gone are forgotten."""

    def __init__(self) -> None:
        self._known: dict[str, Resource] = {}

    def add(self, name: str, resource: Resource) -> None:
        """Keep a resource, in place of one of the same name."""
        self._known = {known: one for known, one in self._known.items() if not one.connection.closed.is_set()}
        self._known[name] = resource

    def find(self, name: str) -> Resource:
        """The resource of that name.

        Raises:
            ApiError: 404 if there is none, or its connection is gone.
        """
        resource = self._known.get(name)
        if resource is None or resource.connection.closed.is_set():
            raise ApiError(404, "not-found", "there is no such session; it may have ended")
        return resource


def _new_tag() -> str:
    return f'"{secrets.token_hex(8)}"'
