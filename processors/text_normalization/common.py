"""Text preparation that is the same for all languages, and all there is for those without a module of their own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

PUNCTUATION = ".,!?…:;–-"
"""What a prepared text may hold beside letters, spaces and stress marks. The Russian and English models read it all
but the hyphen (models.yml of snakers4/silero-models, ``tokenset``), for which see :func:`fit_symbols`."""

STRESS = "\ue000"
"""Stands for a stress mark while a plus sign still means plus; private use, so it cannot come from outside."""

_KEEP = frozenset("…№²³°½¼¾⅓⅔´™©®℃℉")
"""Signs with a meaning of their own that compatibility decomposition would flatten ("м²" to "м2")."""

_QUOTES = dict.fromkeys(map(ord, '"«»“”„‟‹›〝〞＂'), " ")
_SAME = str.maketrans(
    dict.fromkeys("’‘ʼʻ‛`´′＇", "'")
    | dict.fromkeys("‐‑⁃−﹣－", "-")
    | dict.fromkeys("‒—―⸺", "–")
    | {"⁄": "/", "∕": "/", "⋅": "·", "™": "", "©": "", "®": ""}
)

Match = re.Match[str]

Rule = tuple[re.Pattern[str], Callable[[Match], str] | str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text ready to be spoken.

    Attributes:
        text: Words of the language and :data:`PUNCTUATION`; ``+`` before a vowel marks stress.
        lost: Letters and digits of the input that could not be put into words, in order; normally empty.
    """

    text: str
    lost: str = ""


def pair_up(letters: str, spoken: str) -> dict[str, str]:
    """A table: the words of ``spoken``, in order, for the characters of ``letters``."""
    return dict(zip(letters, spoken.split(), strict=True))


def word_set(words: str) -> frozenset[str]:
    """The words of a text, for tables that are written as one."""
    return frozenset(words.split())


def read_table(entries: str) -> dict[str, str]:
    """A table written as ``key:value key:value``."""
    return {key: value for key, _, value in (entry.partition(":") for entry in entries.split())}


def clean(text: str) -> str:
    """One spelling of everything: composed letters, ASCII digits, plain apostrophes and dashes, no invisible signs."""
    # Surrogates cannot be normalised away and say nothing.
    composed = unicodedata.normalize("NFC", "".join(c for c in text if unicodedata.category(c) not in ("Cs", "Co")))
    spaced = re.sub(r"\s+", " ", "".join(map(_clean_character, composed))).strip()
    return re.sub(r"(?<= )-(?= )", "–", spaced)


_STRESSED = "аеёиоуыэюяіїєАЕЁИОУЫЭЮЯІЇЄ"
_ACUTE = re.compile(f"([{_STRESSED}])[\u0301\u00b4]+")
_PLUS = re.compile(rf"(?<=[А-ЯЁІЇЄҐа-яёіїєґ])\+(?=[{_STRESSED[:13]}])|(?<![\w+)-])\+(?=[{_STRESSED}][а-яёіїєґ])")


def mark_stress(text: str) -> str:
    """:data:`STRESS` in place of stress marks in Cyrillic words: an acute behind the vowel, Silero's plus before it."""
    return _PLUS.sub(STRESS, _ACUTE.sub(rf"{STRESS}\1", text))


def _clean_character(char: str) -> str:
    if char.isascii() and char.isalnum():
        return char
    if char in _KEEP:
        return char.translate(_SAME)
    same = char.translate(_SAME)
    flat = unicodedata.normalize("NFKC", same).translate(_SAME).translate(_QUOTES)
    return "".join(map(_plain, flat))


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Nd", "No", "Nl") and not char.isascii():
        value = unicodedata.numeric(char)
        return str(int(value)) if value >= 0 and value == int(value) else " "
    if category in ("Cc", "Zl", "Zp", "Zs"):
        return " "
    return "" if category in ("Cf", "Cn", "Co", "Cs") else char


def letter_name(char: str) -> str:
    """The name Unicode gives a letter that has no plain one inside (EZH, KOPPA), lower case; "" for what is none."""
    name = re.match(r"(?:LATIN|CYRILLIC|GREEK) [A-Z ]*?LETTER (?:[A-Z]+ CAPITAL )?([A-Z]+)", unicodedata.name(char, ""))
    return name[1].lower() if name else ""


def is_readable(word: str) -> bool:
    """Whether capitals in ASCII can be read as a word, as NATO and COVID are: vowels must keep consonants apart."""
    return re.fullmatch(r"[^aeiouy]{0,2}(?:[aeiouy]+[^aeiouy]{0,3})+", word.lower()) is not None


def alternatives(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def rewrite(text: str, rules: Iterable[Rule]) -> str:
    """Apply rules one after the other."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def bare_apostrophes(text: str) -> str:
    """The text without apostrophes that join no letters: they are quotation marks, or nothing."""
    return re.sub(r"(?<![^\W\d_])'+|'+(?![^\W\d_])", "", text)


def finish(text: str, letters: str, replace_letter: Callable[[str], str] = lambda _: "") -> Prepared:
    """Drop what is neither a letter of the language nor punctuation, and tidy up what is left.

    Args:
        text: Words.
        letters: The language's letters, lower case.
        replace_letter: Another spelling for a letter that is not one of them; "" when there is none.
    """
    spoken: list[str] = []
    lost: list[str] = []
    for char in re.sub(r"[()\[\]{}|]", ",", text).lower():
        if char in letters or char in PUNCTUATION or char in (STRESS, " "):
            spoken.append(char)
        elif char.isalnum():
            replacement = "".join(c for c in replace_letter(char) if c in letters)
            spoken.append(replacement or " ")
            if not replacement:
                lost.append(char)
        elif unicodedata.category(char) != "Mn" and char != "'":
            spoken.append(" ")
    text = _tidy("".join(spoken), letters)
    # What one sign left behind may touch the next (". , ." is one stop): once more, and it stays.
    while (tidied := _tidy(text, letters)) != text:
        text = tidied
    return Prepared(text, "".join(lost))


def _tidy(text: str, letters: str) -> str:
    # White space and runs of signs are collapsed first: every later pattern then sees short runs, and stays linear.
    text = re.sub(r"\s+", " ", text.replace("...", "…"))
    text = re.sub(rf"(?<![{letters}])-|-(?![{letters}{STRESS}])", " ", text)  # a hyphen joins letters, or is none
    text = re.sub(rf"{STRESS}(?![{letters}])", "", text).replace(STRESS, "+")
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"([.!?…])(?: ?\1)+", r"\1", text)
    text = re.sub(
        r" ?([,:;–])(?: ?[,:;–])*", lambda m: " – " if m.group().strip(" –") == "" else f"{m[1].strip('–')} ", text
    )
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" ?(?:[,:;]|–)? ?([.!?…])", r"\1", text)
    text = re.sub(r"([.!?…])(?: ?[,:;–])", r"\1", text)
    text = re.sub(r"([.!?…])(?=\w)", r"\1 ", text)
    return re.sub(r"\s+", " ", text).lstrip(PUNCTUATION + " ").rstrip(" ,:;–-")


def fit_symbols(text: str, symbols: str | None) -> Prepared:
    """What of a prepared text a model's own symbol set holds; the rest as near as possible.

    Args:
        text: Prepared text.
        symbols: The model's symbols, or None when it does not say (then the text stays as it is).
    """
    if not symbols:
        return Prepared(text)
    known = set(symbols) | {" "}
    stand_in = {"-": " ", "–": ",", "…": ".", ":": ",", ";": ",", "ё": "е", "+": ""}
    fitted: list[str] = []
    lost: list[str] = []
    for char in text:
        other = char if char in known else stand_in.get(char, "")
        fitted.append(other if other in known else "")
        if char.isalnum() and not fitted[-1]:
            lost.append(char)
    return Prepared(re.sub(r"\s+", " ", "".join(fitted)).strip(), "".join(lost))


def value_of_digits(number: str) -> int | None:
    """The value of a run of digits that is read as one number; None for what is read digit by digit."""
    if len(number) > 15 or (number.startswith("0") and len(number) > 1):
        return None
    return int(number)


_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://\S+"
    r"|[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|(?:[a-z0-9][a-z0-9-]{1,62}\.){1,8}[a-z]{2,24}\b(?:/\S*)?)",
    re.IGNORECASE,
)
"""Bounded everywhere (RFC 5321 and RFC 1035 give the numbers), so that no text makes it slow."""


def say_address(text: str, signs: Mapping[str, str], number: Callable[[str], str] | None = None) -> str:
    """Read the signs inside e-mail and web addresses out; what they mean elsewhere is another matter.

    Args:
        text: Any text.
        signs: What they are called.
        number: Reads digits inside an address; None leaves them to the rules of numbers.
    """

    def say(match: Match) -> str:
        address = match.group()
        end = len(address.rstrip(".,!?…:;)'-"))
        said = "".join(f" {signs[c]} " if c in signs else c for c in address[:end])
        if number is not None:
            said = re.sub(r"\d+", lambda m: f" {number(m.group())} ", said)
        return said + address[end:]

    return _ADDRESS.sub(say, text)
