"""Roman numerals in Russian text: reigns, centuries, and the numbers of parts, congresses and wars, in their case.

A numeral of one letter is one only beside a word that asks for it (a king, a century, a chapter): else it is a
variable, an initial or a size. Longer ones must be written as the Romans' rules have it ("IIX" is none), and hold I, V
and X only, or stand beside such a word: CD, MIX and XXL are something else.
"""

from __future__ import annotations

import re
from functools import cache

from tolmach.processors.text_normalization.common import Match, Rule
from tolmach.processors.text_normalization.russian.context import (
    noun_case,
    preposition_case,
    text_after,
    text_before,
    word_set,
)
from tolmach.processors.text_normalization.russian.morphology import Form, decline, forms
from tolmach.processors.text_normalization.russian.numerals import Case, Gender, cardinal, ordinal

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_PARTS = ("M", 1000), ("CM", 900), ("D", 500), ("CD", 400), ("C", 100), ("XC", 90), ("L", 50), ("XL", 40), ("X", 10), (
    "IX", 9), ("V", 5), ("IV", 4), ("I", 1)  # fmt: skip

_FOLLOWED_BY = word_set(
    "век столетие тысячелетие съезд мировой квартал созыв степень группа категория разряд место тур этап раунд класс "
    "курс рейх интернационал собор тип олимпийский олимпиада паралимпийский дума республика империя династия поколение "
    "конференция пленум сессия фестиваль форум чемпионат конгресс дивизион лига отделение управление полугодие семестр "
    "четверть период очередь серия год вселенский пунический крестовый международный всероссийский всесоюзный "
    "государственный конный ударный гвардейский танковый воздушный армия корпус пехотный ватиканский эон подъезд блок "
    "кубок спартакиада универсиада генеральный ежегодный чрезвычайный внеочередной зимний летний всемирный куликов "
    "этаж зона ранг сорт симфония концерт соната"
)
"""What a numeral before it counts in a row, by the dictionary form: даже "I" is one before these."""

_FOLLOWS = word_set(
    "век столетие тысячелетие "
    "глава том часть раздел книга акт действие выпуск класс группа степень категория тип фаза этап уровень серия сезон "
    "эпизод приложение таблица песнь симфония концерт соната статья параграф блок отдел ступень разряд квартал курс "
    "стадия поколение вариант секция ария картина явление сцена"
)
"""What a numeral behind it is the number of: глава IV."""

_NAMES = word_set(
    "петр павел николай александр екатерина елизавета анна иван иоанн людовик карл генрих филипп георг эдуард ричард "
    "яков вильгельм фридрих франц иосиф наполеон людвиг максимилиан фердинанд леопольд альфонс густав христиан "
    "кристиан эрик сигизмунд август станислав казимир владислав стефан лев пий бенедикт климент григорий урбан "
    "иннокентий юлий сикст мария виктория изабелла маргарита кристина тутмос рамзес аменхотеп птолемей клеопатра дарий "
    "ксеркс артаксеркс кир митридат антиох мехмед сулейман селим мурад баязид ахмед осман мустафа михаил алексей федор "
    "василий дмитрий лжедмитрий ярослав всеволод святослав константин юстиниан феодосий лев роман хуан педро жуан "
    "мануэл афонсу карлос хокон олаф харальд магнус улаф вацлав болеслав бела ласло отто оттон конрад лотарь рудольф "
    "альбрехт альберт генри джеймс чарльз уильям вильям георгий давид ираклий тамара кирилл алексий тихон макарий "
    "филарет абдул-хамид сети псамметих саргон ашшурнасирпал салманасар тиглатпаласар навуходоносор хосров шапур аббас "
    "надир реза хусейн фейсал хасан мухаммед мухаммад борис симеон стефан урош милан беатрикс юлиана вильгельмина "
    "эммануил виктор умберто карл-густав боэмунд балдуин бодуэн роберт малькольм ричард эдмунд эдгар этельред канут "
    "кнуд вальдемар фредерик ирод тигран трдат арташес левон баграт вахтанг теймураз чингиз батый пётр селевк деметрий "
    "агис клеомен франциск чарлз зигмунт ягайло витовт"
)
"""Who reigns, by the dictionary form, ё as е; after these even "I" and "X" are numbers."""

_WOMEN = word_set(
    "екатерина елизавета анна мария виктория изабелла маргарита кристина клеопатра тамара беатрикс юлиана"
)

_ENDING = r"(?:-(?:й|го|му|м|е|я|ю|х|ый|ой|ая|ое|ые|ую|ого|ому|ом|ым|ых))"


def _value(numeral: str) -> int:
    """The value of a numeral, 0 for letters that are none."""
    numeral = numeral.replace("Х", "X").replace("І", "I")
    values = [_VALUES[c] for c in numeral]
    value = sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values))
    return value if _numeral(value) == numeral else 0


@cache
def _numeral(value: int) -> str:
    said = ""
    for part, worth in _PARTS:
        while value >= worth:
            said, value = said + part, value - worth
    return said


def _say(numbers: list[str], case: Case, gender: Gender, *, plural: bool = False, animate: bool = False) -> str:
    """Numerals and what joins them, all in one case."""
    if case == "a" and animate and gender == "m":
        case = "g"
    said = []
    joins = [part.strip() for part in numbers[1::2]]
    if "по" in joins or "до" in joins:
        case = "g"
    for part in numbers:
        if part.strip() == "по":
            case = "a"
        if part[0] in "IVXLCDMХІ":
            said.append(ordinal(_value(part), case, gender, plural=plural))
        else:
            said.append("," if part.strip() == "," else f" {part.strip().replace('-', '–')}")
    return " ".join("".join(f" {each}" if each[0].isalpha() else each for each in said).split())


def _roman(match: Match) -> str:
    numbers = [part for part in re.split(r"(\s?[-–]\s?|\sи\s|\sили\s|,\s|\sпо\s|\sдо\s)", match.group()) if part]
    numerals = numbers[::2]
    if not all(map(_value, numerals)):
        return match.group()
    plain = all(len(n) > 1 and set(n) <= set("IVXХІ") for n in numerals)
    cyrillic = all(set(n) <= set("ХІ") for n in numerals)
    before = re.search(
        r"([А-ЯЁа-яё][а-яё]+(?:-[А-ЯЁ][а-яё]+)?)\s$", match.string[max(0, match.start() - 48) : match.start()]
    )
    if before and not cyrillic and (said := _after_a_name(match, before[1], numbers, known_only=True)):
        return said
    if said := _abbreviated(match, numbers):
        return said
    if said := _before_a_noun(match, numbers, only=_FOLLOWED_BY):
        return said
    if before and plain and (said := _after_a_name(match, before[1], numbers, known_only=False)):
        return said
    if cyrillic:
        return match.group()
    if before and (said := _after_a_part(before[1], numbers)):
        return said
    if not plain:
        return match.group()
    if before and before[1][0].isupper() and before.start() > 0 and before[1].lower() not in _PLAIN_BEGINNINGS:
        return _say(numbers, "n", "m")
    if said := _before_a_noun(match, numbers, only=None):
        return said
    return "".join(cardinal(str(_value(n))) if n in numerals else n for n in numbers)


_PLAIN_BEGINNINGS = word_set("в во на по к с со за от до из о об при для и а но или")


def _after_a_name(match: Match, name: str, numbers: list[str], *, known_only: bool) -> str:
    """``при Петре I``: in the case and gender of the name."""
    if not name[0].isupper():
        return ""
    known = [form for form in forms(name) if form.part == "NOUN" and not form.plural and form.case]
    reigning = [form for form in known if form.lemma in _NAMES]
    women = [form for form in reigning if form.lemma in _WOMEN]
    named = women or [form for form in reigning if form.gender == "m"] or reigning
    if not named and not known_only:
        named = [form for form in known if "Name" in form.marks]
        named = [form for form in named if form.gender == "m"] or named
    if not named:
        return ""
    wanted = preposition_case(text_before(match).rpartition(name.lower())[0])
    form = next((form for form in named if form.case in wanted), named[0])
    if "Fixd" in form.marks and not wanted:
        form = next((form for form in named if form.case == "n"), form)
    case = form.case or "n"
    return _say(numbers, case, form.gender or "m", animate=True)


def _after_a_part(noun: str, numbers: list[str]) -> str:
    """``в главе IV``: in the case and gender of the noun before."""
    for form in sorted(forms(noun), key=lambda form: form.animate):
        if form.part == "NOUN" and form.lemma in _FOLLOWS and form.case:
            return _say(numbers, form.case, form.gender or "m", plural=form.plural and len(numbers) == 1)
    return ""


def _before_a_noun(match: Match, numbers: list[str], only: frozenset[str] | None) -> str:
    """``на XX съезде``: in the case and gender of the words behind."""
    words = re.match(r"\s([А-ЯЁа-яё-]+)(?:\s([а-яё-]+))?(?:\s([а-яё-]+))?", text_after(match))
    if not words or (only is None and words[1][0].isupper()):
        return ""
    agreeing: list[Form] = []
    for word in filter(None, words.groups()):
        found = [form for form in forms(word) if form.case and form.part in ("NOUN", "ADJF", "PRTF")]
        if not found:
            break
        if not agreeing and only is not None:
            found = [form for form in found if form.lemma in only]
            if not found:
                return ""
        both = [form for form in found if not agreeing or any(_agree(form, other) for other in agreeing)]
        if not both:
            break
        agreeing = both
        if not any(form.part in ("ADJF", "PRTF") for form in both):
            break
    if not agreeing:
        return ""
    wanted: tuple[Case, ...] = preposition_case(text_before(match)) or (noun_case(match), "n", "a")
    form = next((form for case in wanted for form in agreeing if form.case == case), agreeing[0])
    several = len(numbers) > 1
    plural = form.plural and not several
    genders = (each.gender for word in filter(None, words.groups()) for each in forms(word) if each.gender)
    gender = form.gender or next(genders, "m")
    return _say(numbers, form.case or "n", gender or "m", plural=plural, animate=form.animate)


def _agree(one: Form, other: Form) -> bool:
    genders = one.plural or not one.gender or not other.gender or one.gender == other.gender
    return one.case == other.case and one.plural == other.plural and genders


_SHORT = {"в": "век", "вв": "век", "ст": "столетие", "кв": "квартал", "тыс": "тысячелетие"}


def _abbreviated(match: Match, numbers: list[str]) -> str:
    """``в XIX в.``: the numeral; what :func:`_century` makes of the noun agrees with it."""
    found = re.match(r"\s?(вв?|ст|кв)\.|\s?(тыс)\.(?=\sдо\sн)", text_after(match))
    if not found:
        return ""
    noun = _SHORT[found[1] or found[2]]
    case = noun_case(match)
    plural = len(numbers) > 1
    if len(numbers) > 1 and numbers[1].strip() in ("по", "до"):
        plural = False
    said = _say(numbers, case, "m" if noun in ("век", "квартал") else "n")
    return f"{said} {_MARK}{decline(noun, case, plural=plural)}"


_MARK = "\ue001"
"""Stands before a noun in place of its abbreviation, which is still to go."""

_CHARS = "IVXLCDMХІ"
_JOINED = r"(?:\s?[-–]\s?|\sи\s|\sили\s|,\s|\sпо\s|\sдо\s)"
ROMAN_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?<![\w.-])([IVX]{{1,7}})(?={_ENDING}(?!\w))"),
        lambda m: str(_value(m[1])) if _value(m[1]) else m[1],
    ),
    (
        re.compile(
            rf"(?<![\w&'@#-])[{_CHARS}]{{1,12}}(?:{_JOINED}[{_CHARS}]{{1,12}}(?!\w)){{0,4}}(?![\w'&@+#]|-\w|\.\w)"
        ),
        _roman,
    ),
    (
        re.compile(rf"{_MARK}(\w+)\s?(?:вв?|ст|кв|тыс)\.(?=(\s*$|\s+(?-i:[А-ЯЁ]))?)"),
        lambda m: m[1] + ("." if m[2] is not None else ""),
    ),
)
"""Roman numerals; before the rules of numbers, which see words in their place."""
