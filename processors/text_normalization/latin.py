"""Latin and Greek letters, and those of Cyrillic alphabets other than Russian, in Russian letters.

Meant for names and loan words in Russian text: near enough to be understood, never exact.
"""

from __future__ import annotations

import re
import unicodedata

from tolmach.processors.text_normalization.common import is_readable, letter_name, pair_up, read_table
from tolmach.processors.text_normalization.latin_names import INITIALISMS, NAMES

LETTER_NAMES = pair_up(
    "abcdefghijklmnopqrstuvwxyz",
    "эй би си ди и эф джи эйч ай джей кей эл эм эн о пи кью ар эс ти ю ви дабл-ю икс уай зед",
)
"""English letter names as Russians say them."""

_AT_THE_BEGINNING = (("kn", "н"), ("wr", "р"), ("ps", "пс"), ("x", "з"), ("ye", "йе"), ("ch", "ч"))
_AT_THE_END = (("gue", "г"), ("que", "к"), ("dge", "дж"), ("ture", "чер"), ("mb", "м"), ("ie", "и"), ("ies", "ис"))
_DIGRAPHS = (
    ("tion", "шн"), ("ssion", "шн"), ("sion", "жн"), ("ough", "о"), ("augh", "о"), ("eigh", "ей"), ("sch", "ш"),
    ("tch", "тч"), ("igh", "ай"), ("dge", "дж"), ("sh", "ш"), ("ch", "ч"), ("th", "т"), ("ph", "ф"), ("kh", "х"),
    ("zh", "ж"), ("wh", "в"), ("ck", "к"), ("qu", "кв"), ("oo", "у"), ("ee", "и"), ("ea", "и"), ("oa", "оу"),
    ("ou", "ау"), ("ow", "оу"), ("ew", "ью"), ("aw", "о"), ("ai", "эй"), ("ay", "эй"), ("ei", "ей"), ("ey", "ей"),
    ("oy", "ой"), ("ya", "я"), ("yu", "ю"), ("yo", "йо"), ("ye", "е"), ("ce", "се"), ("ci", "си"), ("cy", "си"),
)  # fmt: skip
_SINGLE = pair_up(
    "abcdefghijklmnopqrstuvwxyz",
    "а б к д е ф г х и дж к л м н о п к р с т у в в кс и з",
)
_VOWELS = frozenset("aeiouy")
_FULL = frozenset("aeiou")
_LONG = {"a": "эй", "e": "и", "i": "ай", "o": "оу", "u": "ю"}
"""Vowels made long by a mute e behind the next consonant: Dave, Steve, Mike, Rome, Luke."""

_GREEK = pair_up(
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "а в г д е з и т и к л м н кс о п р с с т и ф х пс о",
)
_GREEK_NAMES = pair_up(
    "αβγδεζηθικλμνξοπρστυφχψω",
    "альфа бета гамма дельта эпсилон дзета эта тета йота каппа лямбда мю ню кси омикрон пи ро сигма тау ипсилон фи "
    "хи пси омега",
)
_SPECIAL = {
    "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ŋ": "ng", "ə": "e",
    "ʒ": "zh", "ħ": "h", "ŧ": "t", "ſ": "s", "ɛ": "e", "ɔ": "o", "ĸ": "k", "ƒ": "f",
}  # fmt: skip
_CYRILLIC = read_table(
    "і:и ї:йи є:е ґ:г ў:у ә:э ғ:г қ:к ң:н ө:о ұ:у ү:у һ:х ј:й љ:ль њ:нь ћ:ч ђ:дж џ:дж ѣ:е ѳ:ф ѵ:и ѕ:з ѧ:я ѫ:у ҡ:к "
    "ҙ:з ҫ:с җ:ж ҷ:ч ӏ:и ѓ:гь ќ:кь ҳ:х ѡ:о ѥ:е ѯ:кс ѱ:пс ѹ:у ꙋ:у ѩ:я ѭ:ю ӡ:дз ҟ:к ҥ:н ҭ:т ҩ:о ҽ:ч ҿ:ч"
)


def to_cyrillic(word: str) -> str:
    """A Latin word in Russian letters: a known name, the names of its letters, or by rules."""
    lower = word.lower()
    if known := NAMES.get(lower):
        return acronym_to_cyrillic(word) if word.isupper() and lower in INITIALISMS else known
    if lower.endswith("'s"):
        return to_cyrillic(word[:-2]) + "с"
    plain = _strip_marks(word)
    if known := NAMES.get(plain.lower()):
        return acronym_to_cyrillic(plain) if plain.isupper() and plain.lower() in INITIALISMS else known
    if "-" in plain:
        parts = [part for part in plain.split("-") if part]
        said = [to_cyrillic(part) for part in parts]
        # What is spelt keeps apart from what is not: USB-C.
        return (" " if any(part.isupper() for part in parts) else "-").join(filter(None, said))
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", plain)
    if len(pieces) > 1 and all(len(piece) > 1 for piece in pieces) and plain[:2].lower() != "mc":
        return "-".join(map(to_cyrillic, pieces))
    if len(plain) > 4 and plain[-1] in "sS" and (one := NAMES.get(plain[:-1].lower())):
        return one + "с"
    spelled = plain.isupper() and (len(plain) <= 3 or not is_readable(plain))
    if spelled or len(plain) == 1 or not _VOWELS & set(plain.lower()):
        return acronym_to_cyrillic(plain)
    return _by_rules(plain.lower(), mute=word[-1] in "eE")


def acronym_to_cyrillic(word: str) -> str:
    """The names of Latin letters, joined by hyphens: ``USB`` → ю-эс-би."""
    return "-".join(LETTER_NAMES[c] for c in word.lower() if c in LETTER_NAMES)


def letter_to_cyrillic(char: str) -> str:
    """A single letter of any Latin, Greek or Cyrillic alphabet in Russian letters; "" when there is no way."""
    char = char.lower()
    if char in _CYRILLIC:
        return _CYRILLIC[char]
    if latin := _strip_marks(char):
        return "".join(_SINGLE.get(c, "") for c in latin)
    base = unicodedata.normalize("NFD", char)[0].lower()
    plain = base if "а" <= base <= "я" else ""
    return _GREEK.get(base) or _CYRILLIC.get(base) or plain or _by_rules(letter_name(char))


def greek_word(word: str) -> str:
    """A Greek word by its letters; a letter alone by its name."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
    if len(plain) == 1 and plain in _GREEK_NAMES:
        return _GREEK_NAMES[plain]
    return "".join(_GREEK.get(c, c) for c in plain)


def _by_rules(word: str, *, mute: bool = False) -> str:
    # A final e after a consonant is mute when another vowel carries the word ("Steve"), as in English.
    long_at = -1
    if mute and len(word) > 3 and word[-2] not in _VOWELS and _VOWELS & set(word[:-1]):
        word = word[:-2] + {"c": "s", "g": "j"}.get(word[-2], word[-2])
        long_at = len(word) - 2 if word[-2] in _LONG and word[-3] not in _VOWELS else -1
    spoken: list[str] = []
    at = 0
    ending = next((each for each in _AT_THE_END if word.endswith(each[0]) and len(word) > len(each[0]) + 1), ("", ""))
    word = word.removesuffix(ending[0])
    beginning = next((each for each in _AT_THE_BEGINNING if word.startswith(each[0])), ("", ""))
    if beginning[0]:
        spoken.append(beginning[1])
        at = len(beginning[0])
    while at < len(word):
        if at == long_at:
            spoken.append(_LONG[word[at]])
            at += 1
            continue
        for latin, cyrillic in _DIGRAPHS:
            if word.startswith(latin, at):
                spoken.append(cyrillic)
                at += len(latin)
                break
        else:
            spoken.append(_one_letter(word, at))
            at += 1
    return "".join(spoken) + ending[1]


def _one_letter(word: str, at: int) -> str:
    char = word[at]
    if char == "e" and at == 0:
        return "э"
    before, after = word[at - 1 : at], word[at + 1 : at + 2]
    if char == "s" and before in _FULL and after in _FULL:
        return "з"
    if char == "h" and before in _FULL and after not in _VOWELS:
        return ""  # Johnson
    if char == "g" and before in _FULL and after in ("e", "i", "y"):
        return "дж"
    if char == "y" and at > 0 and word[at - 1] in _VOWELS:
        return "й"
    return _SINGLE.get(char, "")


def _strip_marks(word: str) -> str:
    """ASCII letters and hyphens of a Latin word; letters of other scripts give nothing."""
    letters: list[str] = []
    for char in unicodedata.normalize("NFD", word):
        if char.isascii():
            letters.append(char)
        elif char.lower() in _SPECIAL:
            letters.append(_SPECIAL[char.lower()])
        elif latin := re.match(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])\b", unicodedata.name(char, "")):
            letters.append(latin[1].lower())
    return "".join(c for c in letters if c.isalpha() or c == "-")
