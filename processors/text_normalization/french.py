"""French text preparation: numbers, dates, times, money, units and abbreviations in words."""

from __future__ import annotations

import re

from num2words import num2words

from tolmach.processors.text_normalization.cardinals import cardinal
from tolmach.processors.text_normalization.common import Match, Prepared, Rule, pair_up, read_table, word_set
from tolmach.processors.text_normalization.european import Grammar, Near, Noun, nouns, prepare_with
from tolmach.processors.text_normalization.roman import roman_value

_MONTHS = tuple(
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()  # noqa: SIM905
)
_SHORT_MONTHS = {"janv": 1, "févr": 2, "fév": 2, "avr": 4, "juil": 7, "sept": 9, "oct": 10, "nov": 11, "déc": 12}

_UNITS = nouns("""
%: pour cent, pour cent
‰: pour mille, pour mille
km/h: kilomètre par heure, kilomètres par heure
m/s: mètre par seconde, mètres par seconde
km²: kilomètre carré, kilomètres carrés
m²|m2: mètre carré, mètres carrés
cm²: centimètre carré, centimètres carrés
m³|m3: mètre cube, mètres cubes
cm³: centimètre cube, centimètres cubes
km: kilomètre, kilomètres
m: mètre, mètres
cm: centimètre, centimètres
mm: millimètre, millimètres
kg: kilogramme, kilogrammes
g: gramme, grammes
mg: milligramme, milligrammes
t: tonne, tonnes, f
l|L: litre, litres
ml|mL: millilitre, millilitres
cl|cL: centilitre, centilitres
ha: hectare, hectares
h: heure, heures, f
min|mn: minute, minutes, f
s|sec: seconde, secondes, f
ms: milliseconde, millisecondes, f
°C|℃: degré Celsius, degrés Celsius
°F|℉: degré Fahrenheit, degrés Fahrenheit
°: degré, degrés
Hz: hertz, hertz
kHz: kilohertz, kilohertz
MHz: mégahertz, mégahertz
GHz: gigahertz, gigahertz
W: watt, watts
kW: kilowatt, kilowatts
MW: mégawatt, mégawatts
kWh: kilowattheure, kilowattheures
V: volt, volts
ko|Ko: kilooctet, kilooctets
Mo: mégaoctet, mégaoctets
Go: gigaoctet, gigaoctets
To: téraoctet, téraoctets
MB: mégaoctet, mégaoctets
GB: gigaoctet, gigaoctets
dB: décibel, décibels
""")
_CENTIME, _CENT = Noun("centime", "centimes", "centimes"), Noun("cent", "cents", "cents")
_EURO, _DOLLAR = Noun("euro", "euros", "euros"), Noun("dollar", "dollars", "dollars")
_POUND = (Noun("livre", "livres", "livres", "f"), Noun("penny", "pence", "pence"))
_CURRENCIES = {
    "€": (_EURO, _CENTIME), "EUR": (_EURO, _CENTIME), "$": (_DOLLAR, _CENT), "US$": (_DOLLAR, _CENT),
    "USD": (_DOLLAR, _CENT), "£": _POUND, "GBP": _POUND, "¥": (Noun("yen", "yens", "yens"), _CENTIME),
    "CHF": (Noun("franc suisse", "francs suisses", "francs suisses"), _CENTIME),
    "₽": (Noun("rouble", "roubles", "roubles"), Noun("kopeck", "kopecks", "kopecks")),
    "₴": (Noun("hryvnia", "hryvnias", "hryvnias", "f"), Noun("kopiyka", "kopiykas", "kopiykas", "f")),
    "euros": (_EURO, _CENTIME), "dollars": (_DOLLAR, _CENT),
}  # fmt: skip
_MILLION, _BILLION = Noun("million", "millions", "millions"), Noun("milliard", "milliards", "milliards")
_SCALES = {"M": _MILLION, "Mio": _MILLION, "million": _MILLION, "millions": _MILLION, "Md": _BILLION, "Mds": _BILLION,
           "Mrd": _BILLION, "milliard": _BILLION, "milliards": _BILLION}  # fmt: skip
_FEMININE = word_set(
    "personne personnes heure heures minute minutes seconde secondes semaine semaines année années fois femme femmes "
    "fille filles "
    "voiture voitures maison maisons table tables ville villes page pages place places pièce pièces chambre chambres "
    "tasse "
    "tasses cuillère cuillères pomme pommes bouteille bouteilles chaise chaises tonne tonnes livre livres école écoles "
    "journée journées nuit nuits langue langues lettre lettres équipe équipes entreprise entreprises famille familles"
)


def _cardinal(value: int, noun: Noun | None, before: str) -> str:
    said = cardinal(value, "fr")
    if noun is not None and noun.gender == "f":
        return re.sub(r"\bun$", "une", said)
    return said


def _plain(value: int, around: Near) -> str:
    word = around.follows.lower()
    feminine = word in _FEMININE or word.endswith(("tion", "tions", "sion", "sions", "ette", "ettes", "ée", "ées"))
    return _cardinal(value, Noun("", "", "", "f") if feminine else None, "")


def _ordinal(value: int, feminine: bool = False) -> str:
    if value == 1:
        return "première" if feminine else "premier"
    return (
        str(num2words(value, lang="fr", to="ordinal"))
        .replace("vingtsième", "vingtième")
        .replace("centsième", "centième")
    )


def _date(day: int, month: int, year: int | None, before: str) -> str:
    said = f"{'premier' if day == 1 else _cardinal(day, None, '')} {_MONTHS[month - 1]}"
    return f"{said} {_cardinal(year, None, '')}" if year else said


def _year(year: int, around: Near) -> str | None:
    return None  # said as any other number


def _time(hours: int, minutes: int, before: str) -> str:
    hour = _cardinal(hours, Noun("", "", "", "f"), "")
    said = f"{hour} {'heure' if hours < 2 else 'heures'}"
    return f"{said} {'zéro ' if minutes < 10 else ''}{_cardinal(minutes, None, '')}" if minutes else said


def _fraction(above: int, below: int) -> str | None:
    if not 2 <= below <= 100 or above > 99 or (above, below) == (24, 7):
        return None
    part = {2: "demi", 3: "tiers", 4: "quart"}.get(below) or _ordinal(below)
    return f"{_cardinal(above, None, '')} {part}" + ("" if above == 1 or part == "tiers" else "s")


def _of_scale(noun: Noun) -> str:
    return "d'" if noun.many[0] in "aeéiouhy" and noun.many != "yens" else "de "


def _cents(with_noun: str, alone: str) -> str:
    return alone


_RULERS = (
    "Louis|Charles|Henri|Philippe|Napoléon|François|Jean|Jean-Paul|Jean Paul|Benoît|Pie|Léon|Paul|Pierre|Nicolas|"
    "Alexandre|"
    "Guillaume|Georges|Édouard|Edouard|Élisabeth|Elizabeth|Elisabeth|Catherine|Frédéric|Albert|Léopold|Baudouin|Ramsès|"
    "Grégoire|Clément|Innocent|Richard|Jacques|Robert|Ferdinand|Alphonse|Juan Carlos|Felipe|Marie|Victoria"
)


def _ruler(match: Match) -> str:
    numeral = match[2]
    if match[3]:
        queen = match[1] in ("Élisabeth", "Elizabeth", "Elisabeth", "Catherine", "Marie")
        return f"{match[1]} {'première' if queen else 'premier'}"
    value = roman_value(numeral)
    return match.group() if value is None else f"{match[1]} {_cardinal(value, None, '')}"


def _numbered(match: Match) -> str:
    value = roman_value(match[2])
    return match.group() if value is None else f"{match[1]} {_cardinal(value, None, '')}".strip()


def _roman_ordinal(match: Match) -> str:
    value = roman_value(match[1])
    if value is None:
        return match.group()
    return _ordinal(value, match[2] in ("re", "ère"))


def _arabic_ordinal(match: Match) -> str:
    value, end = int(match[1]), match[2]
    if value == 2 and end in ("nd", "nde", "nds", "ndes"):
        return {"nd": "second", "nde": "seconde"}.get(end, "seconds")
    plural = "s" if end.endswith("s") else ""
    return _ordinal(value, end in ("re", "ère", "ères", "res")) + plural


def _short(pattern: str, words: str) -> Rule:
    return re.compile(rf"(?<!\w){pattern}"), f"{words} "


_EARLY: tuple[Rule, ...] = (
    (re.compile(r"(?<!\w)[nN][°ºo]s?\s?(?=\d)"), "numéro "),
    (re.compile(r"(?<!\w)[nN]ᵒ\s?(?=\d)"), "numéro "),
    (re.compile(r"(?<=\d)\s?(ᵉ|ᵉʳ)(?!\w)"), lambda m: "e" if m[1] == "ᵉ" else "er"),
)

_FIRST: tuple[Rule, ...] = (
    _short(r"MM\.(?=\s[A-ZÉÈÀ])", "messieurs"), _short(r"M\.(?=\s[A-ZÉÈÀ])", "monsieur"),
    _short(r"Mmes\.?", "mesdames"),
    _short(r"Mme\.?", "madame"), _short(r"Mlle\.?", "mademoiselle"), _short(r"Dr\.?(?=\s[A-ZÉÈÀ])", "docteur"),
    _short(r"Pr\.?(?=\s[A-ZÉÈÀ])", "professeur"), _short(r"St(?=[ -][A-ZÉÈÀ])", "saint"),
    _short(r"Ste(?=[ -][A-ZÉÈÀ])", "sainte"),
    _short(r"av\.\s?J\.?-?\s?C\.?", "avant Jésus-Christ"), _short(r"apr?\.\s?J\.?-?\s?C\.?", "après Jésus-Christ"),
    _short(r"p\.\s?ex\.", "par exemple"), _short(r"c\.?-à-d\.?", "c'est-à-dire"), _short(r"etc\.", "et cetera"),
    _short(r"env\.(?=\s?\d)", "environ"), _short(r"p\.\s?(?=\d)", "page"), _short(r"art\.\s?(?=\d)", "article"),
    _short(r"[Tt]él\.", "téléphone"), _short(r"bd\.?(?=\s[A-ZÉÈÀ])", "boulevard"),
    _short(r"av\.(?=\s[A-ZÉÈÀd])", "avenue"),
    _short(r"chap\.\s?(?=[\dIVX])", "chapitre"), _short(r"vol\.\s?(?=[\dIVX])", "volume"), _short(r"max\.", "maximum"),
    _short(r"min\.(?=\s[a-z])", "minimum"), _short(r"km/h(?=\s|$)", "kilomètres par heure"),
    (re.compile(rf"(?<!\w)({_RULERS})\s(I)(er|ère|re)(?!\w)"), _ruler),
    (re.compile(rf"(?<!\w)({_RULERS})\s([IVX]{{2,6}}|[VX])()(?![\w'])"), _ruler),
    (re.compile(r"(?<!\w)([IVX]{1,6})(e|ᵉ|ème|er|re|ère)s?(?!\w)"), _roman_ordinal),
    (
        re.compile(
            r"(?<!\w)((?i:chapitre|tome|volume|partie|acte|titre|phase|type|article|guerre "
            r"mondiale))\s([IVXLC]{1,6})(?![\w'])"
        ),
        _numbered,
    ),
    (re.compile(r"(?<!\w)()([IVX]{2,6})(?!\w)"), _numbered),
    (re.compile(r"(?<![\d:.,])([01]?\d|2[0-4])\s?h(?![\w/])(?!\s?\d)"), lambda m: _time(int(m[1]), 0, "") + " "),
)  # fmt: skip

_CYRILLIC = read_table(
    "а:a б:b в:v г:g д:d е:e ё:io ж:j з:z и:i й:ï к:k л:l м:m н:n о:o п:p р:r "
    "с:s т:t у:ou ф:f х:kh ц:ts ч:tch ш:ch щ:chtch ы:y э:e ю:iou я:ia і:i ї:ï є:ie ґ:g"
)
"""Cyrillic letters in French spelling."""

_FRENCH = Grammar(
    lang="fr",
    letters="abcdefghijklmnopqrstuvwxyzàâæçéèêëîïôœùûüÿ'",
    letter_names=pair_up(
        "abcdefghijklmnopqrstuvwxyzé",
        "a bé cé dé e effe gé hache i ji ka elle emme enne o pé ku erre esse té u vé double-vé ixe i-grec zède é",
    ),
    months=_MONTHS,
    short_months=_SHORT_MONTHS,
    units=_UNITS,
    currencies=_CURRENCIES,
    scales=_SCALES,
    signs={
        "&": "et", "@": "arobase", "#": "numéro", "№": "numéro", "%": "pour cent", "+": "plus", "=": "égale",
        "<": "inférieur à", ">": "supérieur à", "~": "environ", "≈": "environ", "±": "plus ou moins", "×": "fois",
        "÷": "divisé par", "§": "paragraphe", "°": "degrés", "²": "au carré", "³": "au cube", "^": "puissance",
        "€": "euros",
        "$": "dollars", "£": "livres", "≤": "au plus", "≥": "au moins", "‰": "pour mille", "¥": "yens", "₽": "roubles",
    },
    address_signs={
        ".": "point", "@": "arobase", "/": "barre oblique", ":": "deux points", "-": "tiret", "_": "tiret bas",
        "?": "point d'interrogation", "=": "égale", "&": "et", "#": "dièse", "%": "pour cent", "+": "plus",
        "~": "tilde",
    },
    cardinal=_cardinal,
    plain=_plain,
    ordinal_rules=(
        (re.compile(r"(?<![\w.,])(\d{1,3})(ères|ère|res|re|er|ers|èmes|ème|nde|nds|nd|es|e)(?!\w)"), _arabic_ordinal),
    ),
    date=_date,
    year=_year,
    time=_time,
    fraction=_fraction,
    of_scale=_of_scale,
    cents=_cents,
    comma="virgule",
    point="point",
    to="à",
    ratio="à",
    minus="moins",
    mixed="et",
    first=_FIRST,
    early=_EARLY,
    part_of=lambda noun, whole: noun.one if whole is not None and whole < 2 else noun.many,
    replace_letter=lambda char: _CYRILLIC.get(char, ""),
    read_as_words=word_set("OTAN ONU UNESCO UNICEF SIDA COVID FIFA UEFA NASA OPEP SMIC PACS CAPES OVNI"),
)  # fmt: skip


def prepare_french(text: str) -> Prepared:
    """French text as its voice reads it: words and punctuation, in lower case."""
    return prepare_with(_FRENCH, text)
