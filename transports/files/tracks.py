"""Which of a recording's audio tracks is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

__all__ = ["Track", "TrackChoice", "choose_track", "same_language", "three_letters", "tracks"]

_BY_ID = frozenset({"mpegts", "mpeg"})
"""Containers that find their streams while they are read: only the streams' own numbers (PIDs) have an order."""

_ASIDE = (
    Disposition.visual_impaired
    | Disposition.hearing_impaired
    | Disposition.comment
    | Disposition.karaoke
    | Disposition.clean_effects
)
"""Tracks that are not the programme itself."""

_CODES = """
af:afr ak:aka am:amh ar:ara as:asm az:aze ba:bak be:bel bg:bul bn:ben bo:bod,tib br:bre bs:bos ca:cat cs:ces,cze
cy:cym,wel da:dan de:deu,ger dv:div el:ell,gre en:eng eo:epo es:spa et:est eu:eus,baq fa:fas,per fi:fin fo:fao
fr:fra,fre ga:gle gd:gla gl:glg gu:guj ha:hau he:heb,iw hi:hin hr:hrv ht:hat hu:hun hy:hye,arm id:ind,in ig:ibo
is:isl,ice it:ita ja:jpn jv:jav,jw ka:kat,geo kk:kaz km:khm kn:kan ko:kor ku:kur ky:kir la:lat lb:ltz ln:lin lo:lao
lt:lit lv:lav mg:mlg mi:mri,mao mk:mkd,mac ml:mal mn:mon mr:mar ms:msa,may mt:mlt my:mya,bur ne:nep nl:nld,dut
nn:nno no:nor,nob,nb oc:oci om:orm pa:pan pl:pol ps:pus pt:por ro:ron,rum ru:rus rw:kin sa:san sd:snd si:sin
sk:slk,slo sl:slv sn:sna so:som sq:sqi,alb sr:srp su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl,fil
tr:tur tt:tat uk:ukr ur:urd uz:uzb vi:vie wo:wol xh:xho yi:yid,ji yo:yor zh:zho,chi,cmn zu:zul
"""
_ISO_639 = {three: two for two, others in (pair.split(":") for pair in _CODES.split()) for three in others.split(",")}
"""ISO 639-2 codes, both kinds, to the shorter ISO 639-1 that BCP-47 prefers. Containers write either."""


_THREE = {two: others.split(",")[0] for two, others in (pair.split(":") for pair in _CODES.split())}


def three_letters(tag: str) -> str:
    """The ISO 639-2 code (T) of a BCP-47 tag, which containers want; ``und`` where there is none."""
    first = _primary(tag)
    return _THREE.get(first, first if len(first) == 3 else "und")


@dataclass(frozen=True, slots=True)
class Track:
    """One audio track.

    Attributes:
        number: Counted from 0 among the audio tracks.
        stream: libav's stream.
        lang: BCP-47 primary language, or "" when the container does not say.
        default: Whether the container marks it as the one to play.
        known: Whether its format was found; one whose first packets are damaged or late may still decode.
    """

    number: int
    stream: AudioStream
    lang: str
    default: bool
    known: bool

    @property
    def decodable(self) -> bool:
        """Whether this build of libav has a decoder for it."""
        return _has_decoder(self.stream)

    def __str__(self) -> str:
        words = [str(self.number), self.lang or "of unknown language"]
        if title := _printable(self.stream.metadata.get("title", "")):
            words.append(f'"{title}"')
        if self.default:
            words.append("(default)")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class TrackChoice:
    """The track that is read.

    Attributes:
        track: It.
        others: The other ones.
        certain: Whether somebody asked for this one, by number or language.
    """

    track: Track
    others: tuple[Track, ...]
    certain: bool


def tracks(container: InputContainer) -> list[Track]:
    """The audio tracks, in an order that does not depend on which was seen first."""
    streams = [s for s in container.streams if isinstance(s, AudioStream)]
    if _BY_ID & set(container.format.name.split(",")):
        streams.sort(key=lambda s: s.id)
    return [
        Track(
            number,
            stream,
            _primary(stream.metadata.get("language", "")),
            bool(stream.disposition & Disposition.default),
            cast("AudioCodecContext | None", stream.codec_context) is not None
            and bool(stream.codec_context.sample_rate),
        )
        for number, stream in enumerate(streams)
    ]


def choose_track(found: Sequence[Track], wanted: int | str, languages: Sequence[str]) -> TrackChoice:
    """Choose a track.

    Args:
        found: All, at least one.
        wanted: The number of one, the language of one (any ISO 639 code or BCP-47 tag), or ``auto``.
        languages: What the graph expects to hear; ``auto`` takes the first track in the only one of them, else the
            default track, else the first.

    Raises:
        LookupError: If there is no such track; the message goes on after "has".
    """
    listed = ", ".join(str(t) for t in found)
    certain = True
    if isinstance(wanted, int):
        if wanted >= len(found):
            raise LookupError(f"the audio tracks {listed}; `track: {wanted}` is not there")
        track = found[wanted]
    elif wanted != "auto":
        matching = [t for t in found if same_language(t.lang, wanted)]
        if not matching:
            raise LookupError(f"the audio tracks {listed}; none is in `track: {wanted}`. Choose one by its number")
        track = min(matching, key=_rank)
    else:
        spoken = {_primary(tag) for tag in languages}
        matching = [t for t in found if len(spoken) == 1 and t.lang in spoken]
        certain = bool(matching)
        track = min(matching or found, key=_rank)
    return TrackChoice(track, tuple(t for t in found if t is not track), certain)


def same_language(one: str, other: str) -> bool:
    """Whether two tags name one language, whatever their region or script."""
    return bool(_primary(one)) and _primary(one) == _primary(other)


def _has_decoder(stream: AudioStream) -> bool:
    # PyAV's types say there is always one.
    return cast("AudioCodecContext | None", stream.codec_context) is not None


def _rank(track: Track) -> tuple[bool, bool, bool, bool, int]:
    aside = bool(track.stream.disposition & _ASIDE)
    return not track.decodable, not track.known, aside, not track.default, track.number


def _primary(tag: str) -> str:
    first = tag.replace("_", "-").split("-")[0].strip().lower()
    if first in ("und", "mul", "zxx", "mis", "qaa"):
        return ""
    return _ISO_639.get(first, first if first.isascii() and first.isalpha() else "")


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:40]
