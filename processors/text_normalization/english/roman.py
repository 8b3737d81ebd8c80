"""Roman numerals in English: World War II, Elizabeth II, Chapter IV; never the pronoun I, Malcolm X or MIX.

A letter or two may be anything, so a numeral is believed by what stands before it: a word that is numbered (Chapter),
the name of a ruler, or any capitalised word when it can be nothing else (VIII).
"""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.english.numbers import cardinal, ordinal, year
from tolmach.processors.text_normalization.roman import roman_value

_NUMBERED = (
    "World Wars?|Chapters?|Parts?|Volumes?|Vols?\\.|Books?|Acts?|Scenes?|Sections?|Articles?|Titles?|Phases?|Stages?|"
    "Super Bowl|WrestleMania|Types?|Class|Levels?|Grade|Division|Episodes?|Appendix|Tables?|Figures?|Figs?\\.|Part|"
    "Canto|Schedule|Annex|Tier|Category|Mark|Mk|Rocky|Saturn|Apollo|Final Fantasy|Grand Theft Auto|GTA|"
    "Symphony No\\.|Psalm|Zone|Amendment|Form|Stanza|"
    "Opus|Lesson|Unit|Round|Version|Paragraph|Clause|Group|Page|Rule|Law|Season|Vatican|Day|Year|Grades"
)
"""Words that are numbered with Roman numerals."""
_LETTERED = "Class|Appendix|Group|Grade|Category|Tier|Annex|Schedule|Table|Level|Type|Unit|Section|Day|Year|Rule|Mark"
"""Those that are as often lettered: X, V and I alone are numbers behind the others only ("Type I" is one of both)."""
_RULERS = (
    "Abdul Hamid|Aethelred|Alaric|Alexander|Amenhotep|Bayezid|Bolesław|Cleopatra|Clovis|Farouk|Lothair|Menelik|"
    "Mithridates|Seleucus|Stefan|Tiberius|Vlad|Władysław|Alfonso|Alexios|Andrew|Anne|Antiochus|Artaxerxes|Baldwin|Basil|Benedict|Boniface|Carlos|"
    "Casimir|Catherine|Charles|Christian|Christina|Clement|Constantine|Cyrus|Darius|David|Edgar|Edmund|Edward|"
    "Elizabeth|Eric|Eugene|Ferdinand|Francis|Franz|Frederick|Friedrich|Fuad|Gaius|George|Gregory|Gustav|Gustavus|Haakon|"
    "Harald|Harold|Henri|Henry|Hussein|Innocent|Isabella|Ivan|James|Jean|Joan|John|John Paul|Joseph|Juan|Julius|"
    "Justinian|"
    "Ladislaus|Leo|Leopold|Louis|Ludwig|Magnus|Malcolm|Manuel|Margaret|Margrethe|Maria|Mary|Maximilian|Mehmed|Michael|"
    "Mohammed|Murad|Napoleon|Nicholas|Olaf|Oscar|Otto|Paul|Pedro|Peter|Philip|Pius|Ptolemy|Rama|Rainier|Ramses|Rameses|"
    "Richard|Robert|Rudolf|Selim|Sigismund|Sixtus|Stephen|Suleiman|Sweyn|Theodosius|Thomas|Thutmose|Umberto|Urban|"
    "Victor|Victor Emmanuel|Vittorio|Wilhelm|Willem|William|Xerxes"
)
_TITLES = (
    "King|Queen|Pope|Emperor|Empress|Tsar|Czar|Tsarina|Prince|Princess|Duke|Sultan|Shah|Pharaoh|Kaiser|Patriarch|"
    "Saint|Archduke|Earl|Count|Lord"
)
_COUNTABLE = "[Cc]entur(?:y|ies)|Olympiad|Olympics?|Olympic|Winter|Summer|Congress|Army|Corps|Legion|Dynasty|Amendment"

_ANY = "[IVXLCDM]{1,9}"
_SURE = "[IVX]{2,7}"
_TOO_SHORT = frozenset(("IV", "VI", "XI", "XX", "XXX", "XV"))
"""Those with another life (an IV drip, XX chromosomes): numerals behind a capitalised word only."""
_PRONOUN_VERBS = (
    r"(?:am|have|had|think|know|want|need|love|like|will|would|can|could|do|did|must|should|may|might|don't|didn't|"
    r"can't|won't|said|say|saw|see|hope|guess|believe|mean|remember|feel|met|'\w+)(?!\w)"
)


def _ruler(match: Match) -> str:
    name, numeral, tail = match.group(1, 2, 3)
    value = roman_value(numeral)
    # "Malcolm X" is a name, Malcolm III a king; "David C." an initial.
    if value is None or (numeral in "CDLM") or (name == "Malcolm" and numeral == "X"):
        return match.group()
    return f"{name} the {ordinal(value)}{tail or ''}"


def _numbered(match: Match) -> str:
    word, numerals = match.group(1, 2)
    single = len(numerals) == 1
    if single and (numerals in "CDM" or (numerals in "XL" and word.rstrip("s") in _LETTERED.split("|"))):
        return match.group()
    if single and numerals == "L" and not word.endswith("Bowl"):
        return match.group()
    said = re.sub(_ANY, lambda m: _value(m.group()), re.sub(r"\s?[-–]\s?", " to ", numerals))
    return f"{word} {said}"


def _value(numeral: str) -> str:
    value = roman_value(numeral)
    return numeral if value is None else cardinal(str(value))


def _which(match: Match) -> str:
    values = [roman_value(n) for n in re.findall(_ANY, match[1])]
    if None in values:
        return match.group()
    return " and ".join(ordinal(v) for v in values if v is not None) + " " + match[2]


def _alone(match: Match) -> str:
    numeral = match[2]
    value = roman_value(numeral)
    if value is None or (numeral in _TOO_SHORT and not match[1]):
        return match.group()
    return f"{match[1] or ''}{cardinal(str(value))}"


def _long(match: Match) -> str:
    value = roman_value(match.group())
    return match.group() if value is None else year(value)


ROMAN_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<![\w'])([IVX]{{1,5}})(?=\s(?:to|and)\s(?:the\s)?{_SURE}\s+(?:{_COUNTABLE}))()"),
        lambda m: _which(m).strip(),
    ),
    (
        re.compile(rf"(?<![\w'])({_SURE}|[IVX](?=\s?[-–]))(?:th|st|nd|rd)?(?=\s+(?:{_COUNTABLE}))()"),
        lambda m: _which(m).strip(),
    ),
    (
        re.compile(
            rf"(?<![\w'])((?:{_SURE}|[IVX])(?:\s?[-–]\s?|\s+and\s+|\s+to\s+){_SURE}|[XV])(?=\s+(?:{_COUNTABLE}))()"
        ),
        lambda m: _which(m).strip(),
    ),
    (
        re.compile(
            rf"(?<!\w)((?i:{_NUMBERED}))\s+((?:{_ANY})(?:(?:\s?[-–]\s?|,\s|,?\s(?:and|or|to|&)\s){_SURE}){{0,6}})(?![\w'])"
        ),
        _numbered,
    ),
    (
        re.compile(
            rf"(?<!\w)((?:(?:{_TITLES})\s+[A-Z][a-z]{{1,20}}|(?:{_RULERS})(?:\s+[A-Z][a-z]{{2,20}}|\s+of\s+[A-Z]\w{{2,20}})?))"
            rf"\s+([IVX]{{2,7}}|[VX]|I(?!\s+{_PRONOUN_VERBS}|'))('s)?(?![\w'])"
        ),
        _ruler,
    ),
    (re.compile(rf"(?<![\w'])([A-Z][a-z]{{2,20}}\s)?({_SURE})(?![\w'])"), _alone),
    (re.compile(r"(?<![\w'])[MDCLXVI]{4,15}(?![\w'])"), _long),
)
