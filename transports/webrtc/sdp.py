"""Offers as they come in: checked, bounded, and as aiortc takes them rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import TolmachError

MAX_SDP = 65_536
"""Characters; Chrome's offer for one microphone and a data channel has about 4000."""
MAX_CANDIDATES = 100


class SignallingError(TolmachError):
    """An offer or a candidate cannot be used."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as aiortc should see it, and whose transport it describes.

    Attributes:
        sdp: The text.
        mid: The media section whose transport carries all of them (the offerer-tagged one, RFC 9143, 7.2.1).
        line: Its number.
        username: ICE user name fragment of that section.
        password: And its password; empty strings if it has none.
    """

    sdp: str
    mid: str
    line: int
    username: str
    password: str

    def describes(self, candidate: str, *, mid: str | None, line: int | None) -> bool:
        """Whether a trickled candidate belongs to this transport: to its section, and to no earlier or later offer.

        A browser also gathers for the other section until it has our answer; it then throws those ports away.
        """
        of_section = mid == self.mid if mid is not None else line == self.line
        fields = candidate.split()
        named = fields[fields.index("ufrag") + 1 :][:1] if "ufrag" in fields else []
        return of_section and named in ([], [self.username])


def is_mdns(candidate: str) -> bool:
    """Whether a candidate hides its address behind a ``.local`` name (draft-ietf-mmusic-mdns-ice-candidates)."""
    fields = candidate.split()
    return len(fields) > 4 and fields[4].lower().endswith(".local")


def prepare_offer(sdp: str) -> Offer:
    """The offer as aiortc should see it.

    - ``.local`` candidates are left out: resolving each costs a second before the answer, and a peer that hides its
      address reaches us instead, which ICE finds as a peer-reflexive candidate.
    - So is ``end-of-candidates``: with none left, aioice would give up before the peer's first check arrives.
    - Each section gets the candidates of the one whose transport carries all. aiortc takes those of the last section,
      where a browser names ports that it closes on our answer, or none.
    - The audio's section comes first in the BUNDLE group: aiortc would otherwise stop the transport it has made for it.

    Raises:
        SignallingError: If it is too long, or does not offer exactly one audio stream and no video, on one transport.
    """
    if len(sdp) > MAX_SDP:
        raise SignallingError(f"the offer has {len(sdp)} characters; at most {MAX_SDP} are taken")
    session, *sections = _split(sdp)
    kinds = [section[0].removeprefix("m=").partition(" ")[0] for section in sections]
    if kinds.count("audio") != 1 or kinds.count("application") > 1 or set(kinds) - {"audio", "application"}:
        raise SignallingError(
            "the offer must have one audio stream and at most one data channel, and nothing else; "
            f"it has {', '.join(kinds) or 'no media'}"
        )
    if sum(_is_candidate(s) for section in sections for s in section) > MAX_CANDIDATES:
        raise SignallingError(f"the offer has more than {MAX_CANDIDATES} candidates")
    mids = [_attribute(section, "mid") for section in sections]
    bundled = _attribute(session, "group:BUNDLE", " ").split()
    if len(sections) > 1 and (not all(mids) or set(mids) - set(bundled)):
        raise SignallingError("the offer must bundle audio and data channel on one transport (RFC 9143)")
    tagged = next((mids.index(mid) for mid in bundled if mid in mids), 0)
    candidates = [s for s in sections[tagged] if _is_candidate(s) and not is_mdns(s.removeprefix("a=candidate:"))]
    audio = mids[kinds.index("audio")]
    lines = [f"a=group:BUNDLE {' '.join(sorted(bundled, key=audio.__ne__))}" if _is_bundle(s) else s for s in session]
    for section in sections:
        lines += [s for s in section if not _is_candidate(s) and not s.startswith("a=end-of-candidates")]
        lines += candidates
    return Offer(
        sdp="".join(f"{s}\r\n" for s in lines),
        mid=mids[tagged],
        line=tagged,
        username=_attribute(sections[tagged], "ice-ufrag") or _attribute(session, "ice-ufrag"),
        password=_attribute(sections[tagged], "ice-pwd") or _attribute(session, "ice-pwd"),
    )


def _split(sdp: str) -> list[list[str]]:
    """The lines of the session, and of each media section, whose first begins with ``m=``."""
    parts: list[list[str]] = [[]]
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            parts.append([])
        if line:
            parts[-1].append(line)
    return parts


def _attribute(lines: Sequence[str], name: str, separator: str = ":") -> str:
    """The value of the first attribute of that name; empty if there is none."""
    start = f"a={name}{separator}"
    return next((s.removeprefix(start).strip() for s in lines if s.startswith(start)), "")


def _is_candidate(line: str) -> bool:
    return line.startswith("a=candidate:")


def _is_bundle(line: str) -> bool:
    return line.startswith("a=group:BUNDLE")
