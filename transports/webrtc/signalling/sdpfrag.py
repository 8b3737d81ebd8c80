"""Fragments of SDP that carry candidates and credentials of ICE after an offer (RFC 8840, 9), as WHIP sends them.

The media type is ``application/trickle-ice-sdpfrag``. A fragment has lines of a session, then those of media sections,
whose ``m=`` lines say nothing but which one is meant::

    a=ice-ufrag:EsAw
    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
    m=audio 9 RTP/AVP 0
    a=mid:0
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host
    a=end-of-candidates
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tolmach.transports.webrtc.signalling.sdp import SignallingError

__all__ = ["MAX_FRAGMENT", "MEDIA_TYPE", "Fragment", "answer_fragment", "parse_fragment"]

MEDIA_TYPE = "application/trickle-ice-sdpfrag"
MAX_FRAGMENT = 16_384
"""Characters; a browser's ten candidates have about 1500."""
MAX_LINES = 256
_LINE = re.compile(r"[a-z]=[^\x00\r\n]{0,1024}")
_ICE = ("a=ice-lite", "a=ice-options:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a fragment says.

    Attributes:
        username: ICE user name fragment; empty if it says none.
        password: And its password.
        candidates: Each as written, without ``a=candidate:``, and the ``mid`` of its section; None above all sections,
            and for sections that name none.
    """

    username: str
    password: str
    candidates: tuple[tuple[str, str | None], ...]


def parse_fragment(text: str) -> Fragment:
    """Read a fragment. Candidates are not looked into, and attributes that say nothing of ICE passed over.

    Raises:
        SignallingError: If it is too long or none: lines of another form, credentials that are no pair or differ.
    """
    if len(text) > MAX_FRAGMENT:
        raise SignallingError(f"the fragment has {len(text)} characters; at most {MAX_FRAGMENT} are taken")
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SignallingError(f"the fragment has {len(lines)} lines; at most {MAX_LINES} are taken")
    said: dict[str, set[str]] = {"a=ice-ufrag:": set(), "a=ice-pwd:": set()}
    candidates: list[tuple[str, int]] = []
    mids: list[str | None] = [None]
    for line in lines:
        if not _LINE.fullmatch(line):
            raise SignallingError("the fragment cannot be read: a line is not written as RFC 8840 says")
        if line.startswith("m="):
            mids.append(None)
        elif line.startswith("a=mid:"):
            if len(mids) == 1 or mids[-1] is not None:
                raise SignallingError("the fragment cannot be read: an a=mid belongs to a media section, once")
            mids[-1] = line.removeprefix("a=mid:").strip()
        elif line.startswith("a=candidate:"):
            candidates.append((line.removeprefix("a=candidate:"), len(mids) - 1))
        else:
            for name, values in said.items():
                if line.startswith(name):
                    values.add(line.removeprefix(name).strip())
    if any(len(values) > 1 for values in said.values()):
        raise SignallingError("the fragment has several ICE credentials; bundled media have one transport (RFC 9143)")
    username, password = (next(iter(values), "") for values in said.values())
    if bool(username) != bool(password):
        raise SignallingError("the fragment has a=ice-ufrag or a=ice-pwd without the other")
    return Fragment(username, password, tuple((text, mids[section]) for text, section in candidates))


def answer_fragment(answer: str) -> str:
    """What an answer says of ICE, as a fragment: the credentials and candidates of its first section that has some."""
    section: list[str] = []
    lines: list[str] = []
    for line in [*answer.splitlines(), "m="]:
        if line.startswith("m="):
            lines = [s for s in section if s.startswith(_ICE)]
            if any(s.startswith("a=ice-pwd:") for s in lines):
                break
            section = []
        section.append(line)
    media = [s for s in section if s.startswith(("m=", "a=mid:"))]
    credentials = [s for s in lines if not s.startswith(("a=candidate:", "a=end-of-candidates"))]
    candidates = [s for s in lines if s not in credentials]
    return "".join(f"{s}\r\n" for s in [*credentials, *media, *candidates])
