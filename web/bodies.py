"""Bodies of requests that several ways in share: which graph, candidates that trickle in, a later offer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tolmach.transports.webrtc.connection import Connection
from tolmach.transports.webrtc.signalling.sdp import MAX_SDP
from tolmach.web.errors import ApiError

__all__ = ["Body", "Candidate", "GraphChoice", "PeerUpdate"]

ClientValue = str | int | float | bool | None


class Body(BaseModel):
    """A body in which nothing is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GraphChoice(Body):
    """Which graph, and with what."""

    graph: str = Field(max_length=200)
    params: dict[str, ClientValue] = Field(default_factory=dict, max_length=50)
    settings: dict[str, ClientValue] = Field(default_factory=dict, max_length=50)


class Candidate(Body):
    """``RTCIceCandidateInit`` as browsers write it."""

    candidate: str = Field(max_length=1000)
    sdpMid: str | None = Field(None, max_length=64)  # noqa: N815 -- the browser's name
    sdpMLineIndex: int | None = Field(None, ge=0, le=100)  # noqa: N815
    usernameFragment: str | None = Field(None, max_length=256)  # noqa: N815


class PeerUpdate(Body):
    """Candidates that trickle in, or a later offer."""

    candidates: list[Candidate] = Field(default_factory=list, max_length=64)
    sdp: str | None = Field(None, max_length=MAX_SDP)

    def require_one(self) -> None:
        """Ask whether it is one of the two. Raises ApiError 400."""
        if (self.sdp is None) == (not self.candidates):
            raise ApiError(400, "bad-request", "give either candidates or an sdp")

    async def trickle_into(self, connection: Connection) -> None:
        """Give its candidates to a connection. Raises SignallingError."""
        for each in self.candidates:
            await connection.add_candidate(each.candidate, mid=each.sdpMid, line=each.sdpMLineIndex)
