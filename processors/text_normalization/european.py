"""Text preparation for languages that write numbers with a decimal comma: one order of rules, a grammar for each.

German, Spanish, French and Ukrainian differ in words, cases and the order of a date, not in what a number is. So what a
number is (date, time, sum, measure, range, fraction) is found here, and put into words by a :class:`Grammar`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import NamedTuple

from tolmach.processors.text_normalization.common import (
    Match,
    Prepared,
    Rule,
    alternatives,
    bare_apostrophes,
    clean,
    finish,
    letter_name,
    mark_stress,
    rewrite,
    say_address,
    value_of_digits,
)


class Noun(NamedTuple):
    """A counted noun: after one, after two to four (where that differs), after many; its gender (m, f, n)."""

    one: str
    few: str
    many: str
    gender: str = "m"


class Near(NamedTuple):
    """The words around a number, lower case; "" at the edge of a sentence. ``follows`` keeps its capitals."""

    before: str = ""
    follows: str = ""


def nouns(table: str) -> dict[str, Noun]:
    """``sign sign: one, many, gender`` or ``sign: one, few, many, gender`` a line; the gender m may be left out."""
    found: dict[str, Noun] = {}
    for line in table.strip().splitlines():
        signs, _, written = line.rpartition(": ")
        forms = [form.strip() for form in written.split(",")]
        gender = forms.pop() if forms[-1] in ("m", "f", "n") else "m"
        one, few, many = forms[0], forms[1 if len(forms) > 1 else 0], forms[-1]
        found |= dict.fromkeys(signs.replace("_", " ").split("|"), Noun(one, few, many, gender))
    return found


@dataclass(frozen=True)
class Grammar:
    """How a language puts numbers into words.

    Attributes:
        lang: num2words' name of it.
        letters: Its letters, lower case.
        letter_names: The name of each letter that may stand in an initialism.
        months: The twelve names, as they stand in a date, lower case.
        short_months: Short forms (lower case, without the full stop) and the number of the month.
        units: Counted nouns by their sign.
        currencies: Unit and hundredth by sign or code.
        scales: Million and its like by their short forms, and by their own names.
        signs: Words of signs that stand alone.
        address_signs: Words of the signs in e-mail and web addresses.
        cardinal: A number, given what it counts and what stands before it.
        plain: The same for a number that stands alone, given the words around it.
        ordinal_rules: Which one; they run before plain numbers.
        date: Day, month (1 to 12), year or None, and the word before.
        year: Year and the words around it; None when it is no year.
        time: Hour, minutes, the word before.
        fraction: Numerator and denominator; None for what nobody says so.
        of_scale: What joins "million" and what is counted: "millones de euros"; gets the noun.
        cents: How "5,50 €" ends: gets the hundredths in words with their noun, and without it.
        decimal: Digits before and behind the comma; None says them one behind the other.
        part_of: The form of a noun behind a decimal fraction, given what stands before the comma.
        digit_by_digit: Whether "3,14" ends in two digits ("drei Komma eins vier"), not in a number ("tres coma
            catorce").
        stress_marks: Whether its letters may have them.
        comma, point, to, ratio, minus, mixed: Words between two numbers; ``mixed`` is that of 1 1/2.
        first: Rules that run before everything: abbreviations, Roman numerals.
        early: Rules for the text as it was written, before signs are made alike.
        dotted_thousands: Whether 1.250 is more than a thousand.
        replace_letter: Another spelling for a letter the language does not have.
        rewrite_words: What is left of foreign words in its letters.
    """

    lang: str
    letters: str
    letter_names: Mapping[str, str]
    months: tuple[str, ...]
    short_months: Mapping[str, int]
    units: Mapping[str, Noun]
    currencies: Mapping[str, tuple[Noun, Noun]]
    scales: Mapping[str, Noun]
    signs: Mapping[str, str]
    address_signs: Mapping[str, str]
    cardinal: Callable[[int, Noun | None, str], str]
    plain: Callable[[int, Near], str]
    ordinal_rules: tuple[Rule, ...]
    date: Callable[[int, int, int | None, str], str]
    year: Callable[[int, Near], str | None]
    time: Callable[[int, int, str], str]
    fraction: Callable[[int, int], str | None]
    of_scale: Callable[[Noun], str]
    cents: Callable[[str, str], str]
    comma: str
    point: str
    to: str
    ratio: str
    minus: str
    mixed: str
    first: tuple[Rule, ...] = ()
    early: tuple[Rule, ...] = ()
    dotted_thousands: bool = True
    decimal: Callable[[str, str], str | None] = lambda whole, fraction: None
    part_of: Callable[[Noun, int | None], str] = lambda noun, whole: noun.many
    digit_by_digit: bool = False
    stress_marks: bool = False
    replace_letter: Callable[[str], str] = lambda _: ""
    rewrite_words: Callable[[str], str] = lambda text: text
    read_as_words: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in their order: what says most about a number goes first."""
        return (*self.first, *_rules(self))


def prepare_with(grammar: Grammar, text: str) -> Prepared:
    """Text of the grammar's language as its voice reads it: words and punctuation, in lower case."""
    text = clean(rewrite(text, (*_EARLY, *grammar.early)))
    if grammar.stress_marks:
        text = mark_stress(text)
    shouted = text.isupper() and len(text.split()) > 2
    text = rewrite(say_address(text, grammar.address_signs), grammar.rules)
    if not shouted:
        text = _CAPITALS.sub(lambda m: _initialism(grammar, m), text)
    text = bare_apostrophes(grammar.rewrite_words(text))
    return finish(text, grammar.letters, lambda c: _letter(grammar, c))


_VULGAR = {c: unicodedata.normalize("NFKC", c).replace("\u2044", "/") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_EARLY: tuple[Rule, ...] = (
    (
        re.compile("(\\d)?\\s?([" + "".join(_VULGAR) + "])"),
        lambda m: (f"{m[1]} " if m[1] else " ") + _VULGAR[m[2]] + " ",
    ),
    (re.compile(r"https?://(?=\w)", re.IGNORECASE), ""),
)

_CAPITALS = re.compile(r"(?<![^\W\d_])[^\W\d_a-zß-öø-ÿа-яёіїєґ]{2,7}(?![^\W\d_]|')")


def _initialism(grammar: Grammar, match: Match) -> str:
    word = match.group()
    if not word.isupper() or word in grammar.read_as_words:
        return word
    if any(c.lower() not in grammar.letter_names for c in word):
        return word
    vowels = [c in "AEIOUYÄÖÜÁÉÍÓÚАЕИОУЮЯЄІЇ" for c in word]
    if len(word) > 3 and any(vowels) and not re.search("[^v]{3}|[^v]{2}$", "".join("v" if v else "c" for v in vowels)):
        return word
    return " ".join(grammar.letter_names[c.lower()] for c in word)


def _letter(grammar: Grammar, char: str) -> str:
    if other := grammar.replace_letter(char):
        return other
    special = {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ŋ": "ng"}
    base = special.get(char) or unicodedata.normalize("NFD", char)[0]
    return base if set(base) <= set(grammar.letters) else grammar.replace_letter(base) or letter_name(char)


# Numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = r"(?<![\w.,])(\d+)(?:([.,])(\d+))?(?!\d)"
_WORD_BEFORE = re.compile(r"([^\W\d_'’.]+)[.']?\s*$")
_WORD_AFTER = re.compile(r"\s?([^\W\d_]+(?:['’][^\W\d_]+)*)")


def near(match: Match) -> Near:
    """The words before and behind a match."""
    before = _WORD_BEFORE.search(match.string[max(0, match.start() - 25) : match.start()])
    after = _WORD_AFTER.match(match.string[match.end() : match.end() + 25])
    return Near(before[1].lower() if before else "", after[1] if after else "")


def agree(value: int, noun: Noun) -> str:
    """The form of a noun after a number, for languages with a few-form; the others have it twice."""
    if noun.few == noun.many:
        return noun.one if value == 1 else noun.many
    if value % 100 in (11, 12, 13, 14):
        return noun.many
    return noun.one if value % 10 == 1 else noun.few if value % 10 in (2, 3, 4) else noun.many


class _Speaker:
    """Matches of a grammar's rules in words."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def digits(self, run: str) -> str:
        return " ".join(self.grammar.cardinal(int(digit), None, "") for digit in run)

    def integer(self, run: str, noun: Noun | None = None, before: str = "") -> str:
        value = value_of_digits(run)
        return self.digits(run) if value is None else self.grammar.cardinal(value, noun, before)

    def number(
        self, whole: str, sign: str | None, fraction: str | None, noun: Noun | None = None, before: str = ""
    ) -> str:
        if not fraction:
            return self.integer(whole, noun, before)
        word = self.grammar.comma if sign == "," else self.grammar.point
        if (said := self.grammar.decimal(whole, fraction)) is not None:
            return said
        short = not self.grammar.digit_by_digit and len(fraction) <= 2 and not fraction.startswith("0")
        return f"{self.integer(whole)} {word} {self.integer(fraction) if short else self.digits(fraction)}"

    def counted(self, whole: str, sign: str | None, fraction: str | None, noun: Noun, before: str = "") -> str:
        value = value_of_digits(whole)
        said = self.number(whole, sign, fraction, noun, before)
        if fraction:
            return f"{said} {self.grammar.part_of(noun, value)}"
        return f"{said} {noun.many if value is None else agree(value, noun)}"

    def money(self, match: Match) -> str:
        groups = match.groupdict()
        unit, hundredth = self.grammar.currencies[groups["sign"]]
        whole, sign, fraction, scale = groups["whole"], groups["point"], groups["fraction"], groups.get("scale")
        before = near(match).before
        minus = f"{self.grammar.minus} " if groups.get("minus") else ""
        if scale:
            noun = self.grammar.scales[scale]
            return (
                f"{minus}{self.counted(whole, sign, fraction, noun, before)} {self.grammar.of_scale(unit)}{unit.many} "
            )
        if fraction is not None and len(fraction) == 2:
            cents = self.counted(str(int(fraction)), None, None, hundredth)
            if int(whole) == 0 and int(fraction):
                return f"{minus}{cents} "
            said = self.counted(whole, None, None, unit, before)
            if int(fraction):
                said += " " + self.grammar.cents(cents, self.integer(str(int(fraction)), hundredth))
            return f"{minus}{said} "
        return f"{minus}{self.counted(whole, sign, fraction, unit, before)} "

    def measured(self, match: Match) -> str:
        whole, sign, fraction, unit = match.group(1, 2, 3, 4)
        return self.counted(whole, sign, fraction, self.grammar.units[unit], near(match).before) + " "

    def scaled(self, match: Match) -> str:
        whole, sign, fraction, scale = match.group(1, 2, 3, 4)
        return self.counted(whole, sign, fraction, self.grammar.scales[scale], near(match).before) + " "

    def fraction(self, match: Match) -> str:
        whole, above, below = match.group(1, 2, 3)
        said = None
        if not (above.startswith("0") or below.startswith("0")) and len(above) < 4 and len(below) < 4:
            said = self.grammar.fraction(int(above), int(below))
        if said is None:
            said = f"{self.integer(above)} {self.integer(below)}"
        return f"{self.integer(whole)} {self.grammar.mixed} {said} " if whole else f"{said} "

    def range(self, match: Match) -> str:
        first, last = match.group(1, 2)
        years = len(first) == 4 == len(last) and first.isdigit()
        said = self.grammar.year(int(first), near(match)) if years else None
        if said is None:
            whole, sign, fraction = re.fullmatch(r"(\d+)(?:([.,])(\d+))?", first).groups()  # type: ignore[union-attr]
            said = self.number(whole, sign, fraction)
        return f"{said} {self.grammar.to} {last}"

    def numeric_date(self, match: Match) -> str:
        day, month, written = match["day"], match["month"], match["year"]
        full_year = int(written) + (0 if len(written) == 4 else 1900 if int(written) >= 69 else 2000)
        try:
            date(full_year, int(month), int(day))
        except ValueError:
            return match.group()
        return self.grammar.date(int(day), int(month), full_year, near(match).before) + " "

    def worded_date(self, match: Match) -> str:
        day, name, written = match["day"], match["name"].lower().rstrip("."), match["year"]
        if not 1 <= int(day) <= 31:
            return match.group()
        month = self.grammar.short_months.get(name) or self.grammar.months.index(name) + 1
        return self.grammar.date(int(day), month, int(written) if written else None, near(match).before) + " "

    def month_year(self, match: Match) -> str:
        said = self.grammar.year(int(match[2]), near(match))
        return match.group() if said is None else f"{match[1]} {said}"

    def time(self, match: Match) -> str:
        return self.grammar.time(int(match[1]), int(match[2]), near(match).before) + " "

    def year(self, match: Match) -> str:
        said = self.grammar.year(int(match[1]), near(match))
        return match.group() if said is None else said

    def plain(self, match: Match) -> str:
        whole, sign, fraction = match.group(1, 2, 3)
        value = value_of_digits(whole)
        if fraction or value is None:
            return f" {self.number(whole, sign, fraction)} "
        return f" {self.grammar.plain(value, near(match))} "

    def telephone(self, match: Match) -> str:
        written = match.group()
        groups = re.findall(r"\d+", written)
        if len(groups[0]) < 4 and groups[0][0] != "0" and "+" not in written and all(len(g) == 3 for g in groups[1:]):
            return "".join(groups) if "-" not in written and "/" not in written else written
        if sum(map(len, groups)) < 7:
            return written
        plus = f"{self.grammar.signs['+']} " if "+" in written else ""
        return f" {plus}{', '.join(map(self.digits, groups))} "

    def points(self, match: Match) -> str:
        return f" {self.grammar.point} ".join(map(self.integer, match.group().split(".")))


def _rules(grammar: Grammar) -> tuple[Rule, ...]:
    say = _Speaker(grammar)
    month = alternatives((*grammar.months, *(f"{m}." for m in grammar.short_months), *grammar.short_months))
    currency, unit, scale = (alternatives(t) for t in (grammar.currencies, grammar.units, grammar.scales))
    stop = r"(?!\w)(?:\.(?!\s*$|\s+[0-9A-ZА-ЯЁЄІЇ]))?"
    signs = grammar.signs
    joined: tuple[Rule, ...] = (
        (re.compile(r"(?<![\d.,])\d{1,3}(?:[ ']\d{3}){1,5}(?![\d])"), lambda m: re.sub("[ ']", "", m.group())),
        (re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){2,5}(?![\d])"), lambda m: m.group().replace(",", "")),
        (
            re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3}){1,5}(?=\.\d)(?!\.\d{3}(?!\d))"),
            lambda m: m.group().replace(",", ""),
        ),
        (
            re.compile(rf"(?<![\d.,])\d{{1,3}}(?:\.\d{{3}}){{{1 if grammar.dotted_thousands else 2},5}}(?![\d])"),
            lambda m: m.group().replace(".", ""),
        ),
    )
    return (
        (re.compile(r"(?<![\w&])#(?=[^\W\d_])(\w{1,80})"), lambda m: f" hashtag {_apart(m[1])} "),
        (re.compile(r"(?<![\w.+-])@([A-Za-z_]\w{0,60})"), lambda m: f" {signs['@']} {_apart(m[1])} "),
        (re.compile(r"(?<![\d-])(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?![\d-])"), say.numeric_date),
        (
            re.compile(
                r"(?<![\w.,/-])(?P<day>\d{1,2})(?P<s>[./-])(?P<month>\d{1,2})(?P=s)(?P<year>\d{4}|\d{2})(?![\w/-]|[.,]\d)"
            ),
            say.numeric_date,
        ),
        (
            re.compile(
                rf"(?<![\w.,])(?P<day>\d{{1,2}})(?:\.|er|º|°|-(?:го|е|ого))?\s(?:de\s)?(?P<name>(?i:{month}))(?!\w)"
                r"(?:(?:\sde|\sdel|,)?\s(?P<year>\d{4})(?![\w%]|[.,:]\d))?"
            ),
            say.worded_date,
        ),
        (re.compile(rf"(?<!\w)((?i:{month})(?:\sde)?)\s(1\d{{3}}|20\d\d)(?![\w%]|[.,:]\d)"), say.month_year),
        (re.compile(r"(?<![\d.])\d{1,6}(?:\.\d{1,6}){2,5}(?![\d])(?<!\d\.\d{3}\.\d{3})"), say.points),
        (
            re.compile(
                r"(?<![\d:.,])([01]?\d|2[0-4])\s?[:h]\s?([0-5]\d)(?![\d:])(?::[0-5]\d)?(?:\s?(?:Uhr|min|h))?(?!\w)"
            ),
            say.time,
        ),
        (re.compile(r"(?<![\d:.,])([01]?\d|2[0-4])\.([0-5]\d)\s?Uhr(?!\w)"), say.time),
        (re.compile(r"(?<![\w.,/-])\+\d(?:[ /-]?\(?\d{1,4}\)?){2,8}(?![\d%]|[.,]\d)"), say.telephone),
        (
            re.compile(r"(?<![\w.,/-])\(?\+?\(?\d[\d()]{0,14}(?:[ /-]\(?\d{2,4}\)?){2,8}(?![\d%]|[.,]\d|-\w)"),
            say.telephone,
        ),
        *joined,
        (re.compile(r"(?<![\w.,/-])(\d+(?:[.,]\d+)?)(?:[-–]|\s[-–]\s)(?=(\d+))"), lambda m: say.range(m)[: -len(m[2])]),
        (re.compile(r"(?<=\d)\s?:\s?(?=\d)"), f" {grammar.ratio} "),
        (
            re.compile(
                rf"(?:(?<!\w)(?P<minus>-))?(?<![\w.,€$£¥])(?<![€$£¥] )(?P<whole>\d+)"
                rf"(?:(?P<point>[.,])(?P<fraction>\d+))?(?:\s?(?P<scale>{scale})(?!\w)\.?)?(?:\s?(?:de\s|d')?)(?P<sign>{currency}){stop}"
            ),
            say.money,
        ),
        (
            re.compile(
                rf"(?:(?<!\w)(?P<minus>-))?(?<!\w)(?P<sign>{currency})\s?(?P<whole>\d+)(?:(?P<point>[.,])(?P<fraction>\d+))?(?!\d)"
                rf"(?:\s?(?P<scale>{scale}){stop})?"
            ),
            say.money,
        ),
        (re.compile(r"(?<![\w.])-\s?(?=[.,]?\d)"), f" {grammar.minus} "),
        (re.compile(rf"{_NUMBER}\s?({unit}){stop}"), say.measured),
        (re.compile(rf"{_NUMBER}\s?({scale}){stop}"), say.scaled),
        (re.compile(r"(?<![\w.,/+-])(?:(\d{1,4})\s)?(\d{1,4})\s?/\s?(\d{1,4})(?![\w/]|[.,]\d)"), say.fraction),
        *grammar.ordinal_rules,
        (re.compile(r"(?<![\w.,/+-])(1\d{3}|20\d\d)(?![\w%]|[.,/:]\d|-\d)"), say.year),
        (re.compile(r"(?<=[^\W\d_])-?(?=\d)|(?<=\d)-?(?=[^\W\d_])"), " "),
        (re.compile(_NUMBER), say.plain),
        (re.compile(r"\d+"), lambda m: f" {say.integer(m.group())} "),
        (re.compile("[" + "".join(map(re.escape, signs)) + "]"), lambda m: f" {signs[m.group()]} "),
    )


def _apart(written: str) -> str:
    return re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-zа-я])(?=[A-ZА-Я])|_", " ", written)
