"""Offers as they come in: checked, bounded, and as aiortc takes them rightly.

An offer that passes here can be connected as far as its text tells: what lacks a fingerprint, credentials, a codec or a
role is refused before anything is made for it.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aiortc.sdp import SessionDescription

from tolmach.pipelines.errors import TolmachError

MAX_SDP = 65_536
"""Characters; Chrome's offer for one microphone and a data channel has about 4000."""
MAX_LINES = 512
"""Of an offer; Chrome's has about 80. aiortc searches some of them anew for each other one."""
MAX_CANDIDATES = 100

_TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup")
"""Attributes of a transport; of bundled sections, those of the tagged one hold for all (RFC 9143, 7.1.3)."""
_ONCE = ("mid", "ice-ufrag", "ice-pwd", "setup", "rtcp-mux", "sctp-port", "max-message-size")
"""Attributes of which a section may have one; aiortc takes the last where others take the first."""
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
"""RFC 8839, 5.4."""
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Hash functions that aiortc knows (RFC 8122, 5)."""
_ROLES = ("actpass", "active", "passive")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_OPUS = re.compile(r"a=rtpmap:(?:[0-9]|[1-5][0-9]|6[0-3]|9[6-9]|1[01][0-9]|12[0-7]) opus/48000/2", re.IGNORECASE)
"""Whatever is coded, it is called so (RFC 7587, 7), under a number that is no RTCP packet's (RFC 5761, 4)."""
_EXTMAP = re.compile(r"a=extmap:(?:[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])(?:/[a-z]+)? \S.*")
"""RFC 8285, 5."""
_TOKEN = re.compile(r"[!#-'*+.0-9A-Z^-~-]{1,64}")
"""RFC 8866, 9."""
_MEDIA = re.compile(
    r"m=(?P<kind>[a-z]{1,16}) \d{1,5}(?:/\d{1,5})? (?P<rest>[A-Za-z/]{1,32}(?: [!#-'*+.0-9A-Z^-~-]{1,64}){1,64})"
)
"""A media description that can be declined with the same words (RFC 8866, 5.14; RFC 3264, 6)."""
_CANDIDATE = re.compile(
    r"(?P<foundation>[A-Za-z0-9+/]{1,32}) (?P<component>\d{1,3}) (?P<transport>[A-Za-z0-9-]{1,16}) "
    r"(?P<priority>\d{1,10}) (?P<host>\S{1,255}) (?P<port>\d{1,5}) typ (?P<type>[a-z]{1,16})(?: .*)?",
    re.ASCII,
)
"""RFC 8839, 5.1."""


class SignallingError(TolmachError):
    """An offer or a candidate cannot be used."""


class NotAcceptable(SignallingError):  # noqa: N818 -- as HTTP says it
    """An offer can be read, and is none that can be met: it has no Opus, say, or too many streams."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as aiortc should see it, and whose transport it describes.

    Attributes:
        sdp: The text.
        mid: The media section whose transport carries all of them (the offerer-tagged one, RFC 9143, 7.2.1).
        line: Its number.
        username: ICE user name fragment of that section.
        password: And its password; empty strings if it has none.
        declined: Media sections that are not in ``sdp``, by their number in the offer, as an answer declines them.
    """

    sdp: str
    mid: str
    line: int
    username: str
    password: str
    declined: tuple[tuple[int, str], ...] = ()

    @property
    def direction(self) -> str:
        """Which way its audio goes, as the offerer sees it."""
        audio = next(section for section in _split(self.sdp)[1:] if _kind(section) == "audio")
        return next(s.removeprefix("a=") for s in audio if s.removeprefix("a=") in _DIRECTIONS)

    def restarted(self, username: str, password: str, candidates: Sequence[str]) -> Offer:
        """The same offer with other ICE credentials and candidates, as after a restart of which no more is told.

        Raises:
            SignallingError: If one of them cannot be used.
        """
        if not _UFRAG.fullmatch(username) or not _PASSWORD.fullmatch(password):
            raise SignallingError("ICE credentials are 4 and 22 letters and digits or more (RFC 8839, 5.4)")
        usable = [found for found in map(usable_candidate, candidates) if found is not None]
        replaced = {"a=ice-ufrag:": f"a=ice-ufrag:{username}", "a=ice-pwd:": f"a=ice-pwd:{password}"}
        lines: list[str] = []
        for line in self.sdp.splitlines():
            if _is_candidate(line):
                continue
            lines.append(next((new for name, new in replaced.items() if line.startswith(name)), line))
            if line.startswith("a=ice-pwd:"):
                lines += [f"a=candidate:{found}" for found in usable]
        sdp = "".join(f"{s}\r\n" for s in lines)
        return replace(self, sdp=sdp, username=username, password=password)

    def answered(self, answer: str) -> str:
        """The answer to the whole offer, from the answer to :attr:`sdp`: every section has one, in the same order.

        What is declined has a transport all the same, for GStreamer (1.22) takes no section without a fingerprint.
        """
        if not self.declined:
            return answer
        session, *parts = _split(answer)
        transport = "".join(f"{s}\r\n" for s in ["a=rtcp-mux", *filter(_is_transport, parts[0])] if not _is_path(s))
        sections = ["".join(f"{s}\r\n" for s in part) for part in parts]
        for number, text in self.declined:
            sections.insert(number, text + transport)
        return "".join(f"{s}\r\n" for s in session) + "".join(sections)

    def describes(self, candidate: str, *, mid: str | None, line: int | None) -> bool:
        """Whether a trickled candidate belongs to this transport: to its section, and to no earlier or later offer.

        A browser also gathers for the other section until it has our answer; it then throws those ports away.
        """
        of_section = mid == self.mid if mid is not None else line == self.line
        fields = candidate.split()
        named = fields[fields.index("ufrag") + 1 :][:1] if "ufrag" in fields else []
        return of_section and named in ([], [self.username])


def usable_candidate(candidate: str) -> str | None:
    """A candidate as aioice takes it rightly, less what it has no use for; None if we cannot send to it.

    Those are of other transports than UDP and of RTCP alone, hidden addresses and names, and addresses that belong to
    one machine's interface (``%``) or to nobody.

    Raises:
        SignallingError: If it is none (RFC 8839, 5.1).
    """
    match = _CANDIDATE.fullmatch(" ".join(candidate.split()))
    if match is None:
        raise SignallingError("the candidate cannot be used: it is not written as RFC 8839 says")
    port = int(match["port"])
    if int(match["component"]) != 1 or match["transport"].lower() != "udp" or not 0 < port < 65536:
        return None
    if match["type"] not in ("host", "srflx", "relay"):
        return None
    try:
        address = ipaddress.ip_address(match["host"])
    except ValueError:
        return None
    if not can_be_sent_to(address):
        return None
    return f"{match['foundation']} 1 udp {match['priority']} {address} {port} typ {match['type']}"


def can_be_sent_to(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is the address of one peer, whatever interface leads there."""
    return not (address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None))


def prepare_offer(sdp: str, *, decline: bool = False) -> Offer:
    """The offer as aiortc should see it.

    - ``.local`` candidates are left out: resolving each costs a second before the answer, and a peer that hides its
      address reaches us instead, which ICE finds as a peer-reflexive candidate. So are others that cannot be sent to.
    - So is ``end-of-candidates``: with none left, aioice would give up before the peer's first check arrives.
    - Each section gets the candidates, credentials, fingerprints and role of the one whose transport carries all.
      aiortc takes the candidates of the last section, where a browser names ports that it closes on our answer, or
      none; and credentials and fingerprints of the audio's.
    - The audio's section comes first in the BUNDLE group: aiortc would otherwise stop the transport it has made for it.
    - Where audio has no direction it is said: ``sendrecv`` (RFC 8866, 6.7), which aiortc does not assume.

    Args:
        sdp: The offer.
        decline: Whether more may be offered than one audio stream and one data channel: the first of each is taken, and
            the others, video say, are declined as RFC 3264, 6 has it (:meth:`Offer.answered`).

    Raises:
        SignallingError: If it is too long, does not offer exactly one audio stream in Opus and no video, on one
            transport, or could not be connected: without credentials, fingerprint or role, say.
    """
    if len(sdp) > MAX_SDP:
        raise SignallingError(f"the offer has {len(sdp)} characters; at most {MAX_SDP} are taken")
    session, *sections = _split(sdp)
    count = len(session) + sum(map(len, sections))
    if count > MAX_LINES:
        raise SignallingError(f"the offer has {count} lines; at most {MAX_LINES} are taken")
    all_mids = [_attribute(section, "mid") for section in sections]
    offered = sections
    declined: tuple[tuple[int, str], ...] = ()
    if decline:
        sections, declined = _chosen(offered)
    kinds = [_kind(section) for section in sections]
    if kinds.count("audio") != 1 or kinds.count("application") > 1 or set(kinds) - {"audio", "application"}:
        there = ", ".join(map(_kind, offered)) or "no media"
        raise (NotAcceptable if offered else SignallingError)(
            f"the offer must have one audio stream and at most one data channel, and nothing else; it has {there}"
        )
    if sum(_is_candidate(s) for section in sections for s in section) > MAX_CANDIDATES:
        raise SignallingError(f"the offer has more than {MAX_CANDIDATES} candidates")
    for kind, section in zip(kinds, sections, strict=True):
        _check_section(kind, section)
    mids = [_attribute(section, "mid") for section in sections]
    if len(set(all_mids)) < len(all_mids):
        raise SignallingError("the offer must bundle audio and data channel under different names (a=mid, RFC 9143)")
    bundled = _attribute(session, "group:BUNDLE", " ").split()
    if len(sections) > 1 and (not all(mids) or not {*mids} <= {*bundled}):
        raise SignallingError("the offer must bundle audio and data channel on one transport (RFC 9143)")
    if not {*bundled} <= {*all_mids} or len({*bundled}) < len(bundled):
        raise SignallingError("the offer bundles what it does not offer (a=group:BUNDLE, RFC 9143)")
    audio = kinds.index("audio")
    tag = bundled[0] if mids[audio] in bundled else mids[audio]
    tagged = all_mids.index(tag)
    transport = list(_transport(session, offered[tagged]))
    bundled = [mid for mid in bundled if mid in mids]
    direction = next((s for s in session if s.removeprefix("a=") in _DIRECTIONS), "a=sendrecv")
    lines = [
        f"a=group:BUNDLE {' '.join(sorted(bundled, key=mids[audio].__ne__))}" if _is_bundle(s) else s
        for s in session
        if not _is_transport(s)
    ]
    for number, section in enumerate(sections):
        lines += [s for s in section if not _is_transport(s)]
        if number == audio and not any(s.removeprefix("a=") in _DIRECTIONS for s in section):
            lines.append(direction)
        lines += transport
    text = "".join(f"{s}\r\n" for s in lines)
    try:
        SessionDescription.parse(text)
    except Exception as error:  # aiortc asserts and raises all kinds of things on SDP it cannot read
        raise SignallingError(f"the offer cannot be used ({type(error).__name__})") from error
    return Offer(
        sdp=text,
        mid=tag,
        line=tagged,
        username=_attribute(transport, "ice-ufrag"),
        password=_attribute(transport, "ice-pwd"),
        declined=declined,
    )


def _chosen(sections: Sequence[list[str]]) -> tuple[list[list[str]], tuple[tuple[int, str], ...]]:
    """The first audio stream and the first data channel that is one, and how the others are declined.

    Raises:
        SignallingError: If a section cannot be declined because it cannot be read.
    """
    chosen: dict[str, list[str]] = {}
    declined: list[tuple[int, str]] = []
    for number, section in enumerate(sections):
        kind = _kind(section)
        if kind in ("audio", "application") and kind not in chosen and not _is_off(section):
            chosen[kind] = section
            continue
        found = _MEDIA.fullmatch(section[0].rstrip())
        if found is None:
            raise SignallingError("the offer cannot be used: a media section is not written as RFC 8866 says")
        mid = _attribute(section, "mid")
        if mid and not _TOKEN.fullmatch(mid):
            raise SignallingError("the offer cannot be used: an a=mid has to be a token (RFC 8866)")
        lines = [f"m={found['kind']} 0 {found['rest']}", "c=IN IP4 0.0.0.0", "a=inactive"]
        declined.append((number, "".join(f"{s}\r\n" for s in [*lines, *([f"a=mid:{mid}"] if mid else [])])))
    return list(chosen.values()), tuple(declined)


def _kind(section: Sequence[str]) -> str:
    return section[0].removeprefix("m=").partition(" ")[0]


def _is_off(section: Sequence[str]) -> bool:
    """Whether the peer itself declines it (RFC 8843, 6: with port 0, unless that only says that it is bundled)."""
    return section[0].split()[1:2] == ["0"] and "a=bundle-only" not in section


def _check_section(kind: str, section: Sequence[str]) -> None:
    """Check what belongs to one media section. Raises SignallingError."""
    names = Counter(s.removeprefix("a=").partition(":")[0] for s in section if s.startswith("a="))
    for name in _ONCE:
        if names[name] > 1:
            raise SignallingError(f"the offer cannot be used: its section for {kind} has a={name} twice")
    if names["mid"] and not _TOKEN.fullmatch(_attribute(section, "mid")):
        raise SignallingError("the offer cannot be used: an a=mid has to be a token (RFC 8866)")
    if kind == "audio":
        if _is_off(section):
            raise NotAcceptable("the offer cannot be used: its audio is switched off (port 0)")
        if not names["rtcp-mux"]:
            raise SignallingError("the offer cannot be used: it must multiplex RTP and RTCP (a=rtcp-mux, RFC 8834)")
        if not any(_OPUS.fullmatch(s.rstrip()) for s in section):
            raise NotAcceptable("the offer cannot be used: it must offer Opus (a=rtpmap:111 opus/48000/2)")
        if not all(_EXTMAP.fullmatch(s) for s in section if s.startswith("a=extmap:")):
            raise SignallingError("the offer cannot be used: a header extension has no number from 1 to 255 (a=extmap)")
    elif "/DTLS/SCTP" in section[0]:
        port = _attribute(section, "sctp-port")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise SignallingError("the offer cannot be used: its data channel has no SCTP port (a=sctp-port, RFC 8841)")
    else:
        raise SignallingError("the offer cannot be used: a data channel runs over UDP/DTLS/SCTP (RFC 8841)")


def _transport(session: Sequence[str], section: Sequence[str]) -> Iterator[str]:
    """The lines of the transport that carries all: credentials, fingerprints, role, candidates.

    Raises:
        SignallingError: If it cannot be connected.
    """
    found = {name: _attribute(section, name) or _attribute(session, name) for name in _TRANSPORT}
    if not _UFRAG.fullmatch(found["ice-ufrag"]) or not _PASSWORD.fullmatch(found["ice-pwd"]):
        raise SignallingError(
            "the offer cannot be used: it has no ICE credentials (a=ice-ufrag of 4 and more letters and digits, "
            "a=ice-pwd of 22 and more)"
        )
    if found["setup"] not in _ROLES:
        raise SignallingError(f"the offer cannot be used: a=setup must be one of {', '.join(_ROLES)} (RFC 5763)")
    digests = set(_fingerprints(section)) or set(_fingerprints(session))
    if not digests or len({algorithm for algorithm, _ in digests}) < len(digests):
        raise SignallingError(
            "the offer cannot be used: it needs one fingerprint of its certificate for a hash function, of "
            f"{', '.join(_DIGEST_BYTES)} (a=fingerprint, RFC 8122)"
        )
    for name in ("ice-ufrag", "ice-pwd", "setup"):
        yield f"a={name}:{found[name]}"
    if found["ice-options"]:
        yield f"a=ice-options:{found['ice-options']}"
    for algorithm, digest in sorted(digests):
        yield f"a=fingerprint:{algorithm} {digest}"
    for line in filter(_is_candidate, section):
        candidate = usable_candidate(line.removeprefix("a=candidate:"))
        if candidate is not None:
            yield f"a=candidate:{candidate}"


def _fingerprints(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Hash function and digest of each fingerprint that aiortc can compare. Raises SignallingError on broken ones."""
    for line in lines:
        if not line.startswith("a=fingerprint:"):
            continue
        algorithm, _, digest = line.removeprefix("a=fingerprint:").strip().partition(" ")
        size = _DIGEST_BYTES.get(algorithm.lower())
        if size is None:
            continue
        if not re.fullmatch(rf"[0-9A-Fa-f]{{2}}(?::[0-9A-Fa-f]{{2}}){{{size - 1}}}", digest):
            raise SignallingError(f"the offer cannot be used: its {algorithm} fingerprint is not {size} bytes in hex")
        yield algorithm.lower(), digest.upper()


def _split(sdp: str) -> list[list[str]]:
    """The lines of the session, and of each media section, whose first begins with ``m=``."""
    parts: list[list[str]] = [[]]
    for line in sdp.splitlines():  # as aiortc does it, which sees line ends in what others take for text
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


def _is_transport(line: str) -> bool:
    name, _, _ = line.removeprefix("a=").partition(":")
    return line.startswith("a=") and name in (*_TRANSPORT, "candidate", "end-of-candidates")


def _is_path(line: str) -> bool:
    return line.startswith(("a=candidate:", "a=end-of-candidates"))


def _is_bundle(line: str) -> bool:
    return line.startswith("a=group:BUNDLE")
