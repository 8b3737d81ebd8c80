"""Offers as they come in: checked, bounded, and without what would only cost time."""

from __future__ import annotations

import re

from pipelines.errors import TolmachError

MAX_SDP = 65_536
"""Characters; Chrome's offer for one microphone and a data channel has about 4000."""
MAX_CANDIDATES = 100
_MEDIA = re.compile(r"^m=(\w+) (\d+)", re.MULTILINE)


class SignallingError(TolmachError):
    """An offer or a candidate cannot be used."""


def is_mdns(candidate: str) -> bool:
    """Whether a candidate hides its address behind a ``.local`` name (draft-ietf-mmusic-mdns-ice-candidates)."""
    fields = candidate.split()
    return len(fields) > 4 and fields[4].lower().endswith(".local")


def prepare_offer(sdp: str) -> str:
    """The offer as aiortc should see it.

    ``.local`` candidates are left out: resolving each costs a second before the answer, and a peer that hides its
    address reaches us instead, which ICE finds as a peer-reflexive candidate.

    Raises:
        SignallingError: If it is too long or does not offer exactly one audio stream, and no video.
    """
    if len(sdp) > MAX_SDP:
        raise SignallingError(f"the offer has {len(sdp)} characters; at most {MAX_SDP} are taken")
    kinds = [m[1] for m in _MEDIA.finditer(sdp)]
    if kinds.count("audio") != 1 or kinds.count("application") > 1 or set(kinds) - {"audio", "application"}:
        raise SignallingError(
            "the offer must have one audio stream and at most one data channel, and nothing else; "
            f"it has {', '.join(kinds) or 'no media'}"
        )
    lines = sdp.replace("\r\n", "\n").split("\n")
    if sum(s.startswith("a=candidate:") for s in lines) > MAX_CANDIDATES:
        raise SignallingError(f"the offer has more than {MAX_CANDIDATES} candidates")
    kept = [s for s in lines if not (s.startswith("a=candidate:") and is_mdns(s.removeprefix("a=candidate:")))]
    return "\r\n".join(kept)
