"""Russian initialisms: which are spelt letter by letter, which are read as words, and what the letters are called."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Match, Rule, pair_up
from tolmach.processors.text_normalization.russian.context import word_set

LETTER_NAMES = pair_up(
    "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "а бэ вэ гэ дэ е жэ зэ и и-краткое ка эл эм эн о пэ эр эс тэ у эф ха цэ чэ ша ща твёрдый-знак ы мягкий-знак э ю я "
    "ё",
)
_READ_OTHERWISE = {
    "США": "сэ-шэ-а", "ФБР": "фэ-бэ-эр", "ФРГ": "фэ-эр-гэ", "РФ": "рэ-эф", "ГИБДД": "ги-бэ-дэ-дэ",
    "ЛГБТ": "эл-гэ-бэ-тэ", "ЦСКА": "цэ-эс-ка", "ФГУП": "фэ-гуп", "МГИМО": "мгимо", "ГКЧП": "гэ-ка-чэ-пэ",
    "ЧП": "чэ-пэ", "ПТУ": "пэ-тэ-у", "ИТ": "ай-ти", "ВУЗ": "вуз", "ВИА": "виа", "ВЛКСМ": "вэ-эл-ка-эс-эм",
    "ЧС": "чэ-эс", "ЧМ": "чэ-эм", "МЧС": "эм-чэ-эс", "ЕСПЧ": "е-эс-пэ-чэ", "РКН": "эр-ка-эн", "ВЧК": "вэ-чэ-ка",
    "ЧВК": "чэ-вэ-ка", "ВИЧ": "вич", "ЧПУ": "чэ-пэ-у",
}  # fmt: skip
_SPELLED = word_set(
    "АБС АЗС АИ АИБ АК АКМ АКПП АЛ АНО АО АПК АПЛ АСВ АСК АСТ АСУ АТП АТС АУ АЦП АЧХ АЭС БГУ БПЛА ВГУ ВОВ ВСУ ВШЭ ГОУ "
    "ГТО ГУВД ДВФУ ДМС ДНК ДОУ ДЮСШ ЕАЭС ЕБРР ЕГЭ ЕДВ ЕИРЦ ЕКБ ЕКПП ЕНВД ЕР ЕС ЕЦБ ЕЭС ЖК ЖЭУ ЗАО ИВЛ ИЖС ИИ ИК ИКТ "
    "ИНН ИП ИФНС КГУ КФУ МГУ МОУ НАО НГУ НКО НЛО НПО ОАО ОАЭ ОБЖ ОВД ОГРН ОГУ ОГЭ ОДО ОЖ ОЗУ ОКБ ОКВЭД ОМС ОНФ ООН ООО "
    "ООП ОРВИ ОРЗ ОРТ ОСБ ОСП ОТК ОЭСР ПВО ПГУ ПЗУ ПО ПТО РГУ СВО СГУ СКА СКБ СОШ СПБГУ СРО СФУ ТВ ТГУ ТОО УВД УЕ УЗДГ "
    "УК УКА УКВ УРФУ УСН УСНО УФ УФМС УЭК ЦРУ ЭБУ ЭВМ ЭДО ЭДС ЭКГ ЭЛТ ЭП ЭЦП ЭЭГ ЮФУ"
)
"""Spelt although they have a vowel."""

_WORDS = word_set(
    "АБВЕР АВИТО АВТОВАЗ АКАДО АСЕАН АТЭС АЭРО БРИКС ВОЗ ВЦИОМ ГАИ ГИА ГЛОНАСС ГОСТ ГРУ ГУЛАГ ГУП ГЭК ДОСААФ ЗАГС ИГИЛ "
    "ИКАО ИКЕА ИРА КАМАЗ КОАП ЛЭП МАГАТЭ МАИ МАО МВИДЕО МИСИС МИФИ МКАД МОК МРОТ МУП МУР МХАТ НИИ НЭП ОБСЕ ОМОН ОПЕК "
    "ОСАГО ПАО ПМЭФ РАО РИА РОСНО СИЗО СКОЛКОВО СМИ СНИЛС СНИП СПИД СТАНКИН СУЗ ТЭС ТЮЗ УАЗ УГРО УЕФА УЗИ УФА УФСИН "
    "ФИДЕ ФИО ФИФА ФОМС ФСИН ЦКАД ШОС ЭКО ЭРА ЭХО ЮНЕСКО"
)
"""Read as words although their letters make it hard to guess."""

_COMMON = word_set(
    "А И О У Я НЕ НИ НО НА ДА ДО ЗА ИЗ ИХ ИМ ОН МЫ ТЫ ВЫ ОТ ОБ ПОД НАД ПРИ ПРО ДЛЯ БЕЗ ЧТО КТО КАК ГДЕ ТАК ТАМ ТУТ ВОТ "
    "ВСЕ ВСЁ ЕГО ЕЁ ЕЙ ЕМУ ЖЕ БЫ ЛИ УЖ УЖЕ ЕЩЁ ЕЩЕ ИЛИ ОНА ОНИ ОНО ЭТО ЭТА ЭТИ ЭТОТ ТОТ ТА ТО ТЕ НЕТ СТО ДВА ДВЕ ТРИ "
    "РАЗ ГОД ДОМ МИР ДЕНЬ НАМ ВАМ НАС ВАС МНЕ МОЙ МОЯ МОЁ МОИ НАШ ВАШ СВОЙ САМ ОБА ОБЕ МЕНЯ ТЕБЯ СЕБЯ БЫЛ БЫТЬ ЕСТЬ "
    "БЫЛО ЧЕМ ЧЕГО СТОП СТАРТ ИТОГО ВХОД ВЫХОД ВНИМАНИЕ ТОЛЬКО ОЧЕНЬ НУ ОЙ АХ ЭХ УХ АУ ЭЙ АЙ ОГО ПОЧТИ ВДРУГ ТОЖЕ "
    "ТОГДА ПОТОМ МЕЖДУ КО ВО СО ОБО ИЗО МОЛ ЕЛЬ ЯБЛОКО ГОРОД УРА ОРЁЛ ОСЁЛ УРОК ДРУГ ВРАГ ХЛЕБ СТОЛ СТУЛ ПЛАН КЛУБ ЭРА "
    "ЭПОХА СПА ЧЕЙ ЧЬЯ МОЕ ЕЁ"
)
"""Words that people shout; no initialism looks like one of them."""

_VOWELS = frozenset("АЕЁИОУЫЭЮЯ")
_READABLE = re.compile(r"[^АЕЁИОУЫЭЮЯ]{0,2}(?:[АЕЁИОУЫЭЮЯ]{1,2}[^АЕЁИОУЫЭЮЯ]{1,3})*[АЕЁИОУЫЭЮЯ]{0,2}")
_SHORT_READABLE = re.compile(r"[^АЕЁИОУЫЭЮЯ][АЕЁИОУЫЭЮЯ][^АЕЁИОУЫЭЮЯ]")


def spell(word: str, *, shouted: bool = False) -> str | None:
    """Letter names of a Russian initialism that is not read as a word: ``СССР`` → эс-эс-эс-эр; None for other words.

    Three letters are a word when a vowel stands in the middle (МИД, ГЭС), longer ones when consonants do not pile up;
    two are always spelt.

    Args:
        word: Capitals.
        shouted: Whether the words around are capitals too, so that capitals say nothing.
    """
    if word in _READ_OTHERWISE:
        return _READ_OTHERWISE[word]
    if word in _WORDS or (word in _COMMON and word not in ("ПО",)):
        return None
    if word not in _SPELLED and set(word) & _VOWELS:
        if shouted:
            return None
        readable = _SHORT_READABLE if len(word) == 3 else _READABLE
        if len(word) > 2 and readable.fullmatch(word):
            return None
    return "-".join(LETTER_NAMES[c] for c in word.lower())


_MIXED = re.compile(r"(?<![А-ЯЁа-яё])(?=(?:[а-яё]?[А-ЯЁ]){3})[А-ЯЁ]{1,4}[а-яё]{1,2}[А-ЯЁ]{1,3}(?![А-ЯЁа-яё])")
_LETTER = re.compile(
    r"(?:(?<![\w.'\ue000-])[БГДЖЗЛМНПРТФХЦЧШЩ]"
    r"|(?i:(?<=план )|(?<=пункт )|(?<=точка )|(?<=буква )|(?<=вариант )|(?<=группа )|(?<=тип ))[ВКС])"
    r"(?![\w'\ue000-]|\.\w)"
)
"""Letters that stand alone and are no preposition."""

_DERIVED = re.compile(r"(?<![А-ЯЁа-яё])([БВГДЖЗКЛМНПРСТФХЦЧШЩ]{3,5})(?=(?:шн|овск|овец|овц))")


def _spelt_in_part(word: str) -> str:
    """``СПбГУ``, whose small letters are letters of it too."""
    if _READABLE.fullmatch(word.upper()):
        return word
    return "-".join(LETTER_NAMES[c] for c in word.lower())


_CAPITALS = re.compile(
    r"(?<![А-ЯЁа-яё\ue000])([А-ЯЁ]{2,6})(?:(?=[^А-ЯЁа-яё]|$)|(?=(?:а|у|е|ом|ы|ов|ам|ами|ах)(?![а-яё])))"
)


def say_initialisms(text: str) -> str:
    """Spell the initialisms of a text that are not read as words."""

    def say(match: Match) -> str:
        word = match[1]
        around = match.string[max(0, match.start() - 24) : match.start()], match.string[match.end() : match.end() + 24]
        shouted = len(word) > 3 and any(re.search(r"[А-ЯЁ]{4,}", side) for side in around)
        following = match.string[match.end() : match.end() + 1]
        if following and "а" <= following.lower() <= "ё":
            return word if set(word) & _VOWELS else spell(word) or word  # "МИДом", "СССРа"
        if word == "ПО" and (shouted or not re.search(r"[а-яё] $", around[0])):
            return word
        return spell(word, shouted=shouted) or word

    text = _LETTER.sub(lambda m: LETTER_NAMES[m.group().lower()], text)
    text = _DERIVED.sub(lambda m: (spell(m[1]) or m[1]).replace("-", ""), text)  # ФСБшник
    return _MIXED.sub(lambda m: _spelt_in_part(m.group()), _CAPITALS.sub(say, text))


_INITIAL = r"(?:Дж|[А-ЯЁ])"


def _initials(match: Match) -> str:
    before = re.search(r"([А-ЯЁа-яё]+)\s$", match.string[max(0, match.start() - 24) : match.start()])
    if before and before[1].lower() in _NOT_BEFORE:
        return match.group()
    return " ".join(_initial(each) for each in re.findall(_INITIAL, match.group())) + " "


def _initial(letter: str) -> str:
    return "джей" if letter == "Дж" else LETTER_NAMES[letter.lower()]


_NOT_BEFORE = word_set("витамин витамины витамина группа группы класс класса пункт вариант план тип точка буква буквы")


def _initials_behind(match: Match) -> str:
    stop = "." if re.match(r"\s*$|\s+[А-ЯЁ«–]", match.string[match.end() : match.end() + 8]) else ""
    return " " + " ".join(_initial(each) for each in re.findall(_INITIAL, match.group())) + stop


INITIALS_RULES: tuple[Rule, ...] = (
    (re.compile(rf"(?<![\w-])(?:{_INITIAL}\.\s?){{1,3}}(?=[А-ЯЁ][а-яё])"), _initials),
    (re.compile(rf"(?<=[а-яё])\s{_INITIAL}\.\s?{_INITIAL}\.(?!\w)"), _initials_behind),
    (re.compile(rf"(?<=[а-яё]{{2}})\s{_INITIAL}\.(?=\s?,\s?[А-ЯЁ]|\s+[а-яё])"), _initials_behind),
    (re.compile(r"(?<!\w)[A-Z]\.\s?(?=[A-Z][a-z])"), lambda m: m.group()[0] + " "),
)
"""Initials before and behind a name: А. С. Пушкин, Толстой Л. Н."""
