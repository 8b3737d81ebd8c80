"""Spanish text preparation: numbers, dates, times, money, units and abbreviations in words."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.cardinals import cardinal
from tolmach.processors.text_normalization.common import Match, Prepared, Rule, pair_up, read_table, word_set
from tolmach.processors.text_normalization.european import Grammar, Near, Noun, nouns, prepare_with
from tolmach.processors.text_normalization.roman import roman_value

_MONTHS = tuple(
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()  # noqa: SIM905
)
_SHORT_MONTHS = {"ene": 1, "feb": 2, "mar": 3, "abr": 4, "jun": 6, "jul": 7, "ago": 8, "sept": 9, "sep": 9, "oct": 10,
                 "nov": 11, "dic": 12, "setiembre": 9}  # fmt: skip

_UNITS = nouns("""
%: por ciento, por ciento
‰: por mil, por mil
km/h: kilómetro por hora, kilómetros por hora
m/s: metro por segundo, metros por segundo
km²: kilómetro cuadrado, kilómetros cuadrados
m²|m2: metro cuadrado, metros cuadrados
cm²: centímetro cuadrado, centímetros cuadrados
m³|m3: metro cúbico, metros cúbicos
cm³: centímetro cúbico, centímetros cúbicos
km: kilómetro, kilómetros
m: metro, metros
cm: centímetro, centímetros
mm: milímetro, milímetros
kg|Kg: kilogramo, kilogramos
g: gramo, gramos
mg: miligramo, miligramos
t: tonelada, toneladas, f
l|L: litro, litros
ml: mililitro, mililitros
ha: hectárea, hectáreas, f
h: hora, horas, f
min: minuto, minutos
s|seg: segundo, segundos
ms: milisegundo, milisegundos
°C|ºC|℃: grado Celsius, grados Celsius
°F|ºF|℉: grado Fahrenheit, grados Fahrenheit
°: grado, grados
Hz: hercio, hercios
kHz: kilohercio, kilohercios
MHz: megahercio, megahercios
GHz: gigahercio, gigahercios
W: vatio, vatios
kW: kilovatio, kilovatios
MW: megavatio, megavatios
kWh: kilovatio hora, kilovatios hora
V: voltio, voltios
kB|KB: kilobyte, kilobytes
MB: megabyte, megabytes
GB: gigabyte, gigabytes
TB: terabyte, terabytes
dB: decibelio, decibelios
lb|lbs: libra, libras, f
""")
_CENT = Noun("centavo", "centavos", "centavos")
_EUROS = (Noun("euro", "euros", "euros"), Noun("céntimo", "céntimos", "céntimos"))
_DOLLARS = (Noun("dólar", "dólares", "dólares"), _CENT)
_POUNDS = (Noun("libra", "libras", "libras", "f"), Noun("penique", "peniques", "peniques"))
_CURRENCIES = {
    "€": _EUROS, "EUR": _EUROS, "euros": _EUROS, "$": _DOLLARS, "US$": _DOLLARS, "USD": _DOLLARS, "dólares": _DOLLARS,
    "£": _POUNDS, "GBP": _POUNDS, "libras": _POUNDS, "¥": (Noun("yen", "yenes", "yenes"), _CENT),
    "MXN": (Noun("peso", "pesos", "pesos"), _CENT), "₽": (Noun("rublo", "rublos", "rublos"), _CENT),
    "₴": (Noun("grivna", "grivnas", "grivnas", "f"), _CENT),
    "CHF": (Noun("franco suizo", "francos suizos", "francos suizos"), _CENT),
}  # fmt: skip
_MILLION = Noun("millón", "millones", "millones")
_SCALES = {
    "M": _MILLION, "millón": _MILLION, "millones": _MILLION, "mill": _MILLION, "MM": _MILLION,
    "billones": Noun("billón", "billones", "billones"),
}  # fmt: skip
_FEMININE = word_set(
    "personas persona mujeres mujer veces vez noches noche tardes ciudades ciudad mujeres naciones calles clases "
    "partes luces "
    "manos mano fotos llaves leyes flores imágenes redes"
)
_MASCULINE_A = word_set("días día problemas problema mapas programas sistemas temas idiomas planetas kilómetros poetas")


def _cardinal(value: int, noun: Noun | None, before: str) -> str:
    said = cardinal(value, "es")
    said = re.sub(r"veintiuno (?=mil)", "veintiún ", said)
    said = re.sub(r"\buno (?=mil)", "un ", said)
    if noun is None:
        return said
    if noun.gender == "f":
        return re.sub(r"uno$", "una", re.sub(r"cientos\b(?! mill)", "cientas", said)).replace(
            "quinientos", "quinientas"
        )
    return re.sub(r"veintiuno$", "veintiún", re.sub(r"\buno$", "un", said))


def _plain(value: int, around: Near) -> str:
    word = around.follows.lower()
    if not word or not (value % 10 == 1 or value % 1000 >= 200):
        return _cardinal(value, None, "")
    feminine = word in _FEMININE or (
        word.endswith(("a", "as", "ción", "ciones", "dad", "dades")) and word not in _MASCULINE_A
    )
    counted = (value % 10 == 1 and value % 100 != 11) or value >= 200
    verbs = word_set("era fue estaba la las una para a y o es en de del por con que hasta había tenía sea va da")
    if not counted or word in verbs:
        return _cardinal(value, None, "")
    masculine = word.endswith(("o", "os", "es", "és", "l", "r", "n")) or word in _MASCULINE_A
    if feminine:
        return _cardinal(value, Noun("", "", "", "f"), "")
    return _cardinal(value, Noun("", "", "") if masculine else None, "")


_ORDINALS = "primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo".split()  # noqa: SIM905


def _ordinal(value: int, feminine: bool, short: bool = False) -> str:
    if value > 10:
        return _cardinal(value, Noun("", "", "", "f") if feminine else None, "")
    said = _ORDINALS[value - 1] if value else "cero"
    if short and value in (1, 3):
        return said[:-1]
    return said[:-1] + "a" if feminine else said


def _date(day: int, month: int, year: int | None, before: str) -> str:
    said = f"{'primero' if day == 1 else _cardinal(day, None, '')} de {_MONTHS[month - 1]}"
    return f"{said} de {_cardinal(year, None, '')}" if year else said


def _year(year: int, around: Near) -> str | None:
    if around.before in word_set("en de desde hasta año y a entre") or not around.follows:
        return _cardinal(year, None, "")
    return None


def _time(hours: int, minutes: int, before: str) -> str:
    hour = _cardinal(hours, Noun("", "", "", "f"), "")
    if not minutes:
        return f"{hour} en punto" if before in ("las", "la") else f"{hour} {'hora' if hours == 1 else 'horas'}"
    return f"{hour} {'cero ' if minutes < 10 else ''}{_cardinal(minutes, None, '')}"


def _fraction(above: int, below: int) -> str | None:
    parts = {2: "medio", 3: "tercio", 4: "cuarto", 5: "quinto", 6: "sexto", 7: "séptimo", 8: "octavo", 9: "noveno",
             10: "décimo", 100: "centésimo"}  # fmt: skip
    if below not in parts or above > 99:
        return None
    return f"{'un' if above == 1 else _cardinal(above, None, '')} {parts[below]}{'' if above == 1 else 's'}"


def _of_scale(noun: Noun) -> str:
    return "de "


def _cents(with_noun: str, alone: str) -> str:
    return f"con {with_noun}"


_RULERS_F = "Isabel|Juana|Catalina|María|Cristina|Margarita|Victoria"
_RULERS = (
    "Alfonso|Felipe|Carlos|Fernando|Juan Carlos|Juan Pablo|Juan|Benedicto|Pío|León|Pedro|Pablo|Luis|Enrique|Jorge|"
    "Eduardo|"
    "Guillermo|Napoleón|Alejandro|Nicolás|Francisco|Sancho|Jaime|Ramiro|Clemente|Gregorio|Inocencio|Federico|Ramsés"
)


def _ruler(match: Match) -> str:
    value = roman_value(match[2])
    if value is None:
        return match.group()
    return f"{match[1]} {_ordinal(value, re.fullmatch(_RULERS_F, match[1]) is not None)}"


def _numbered(match: Match) -> str:
    value = roman_value(match[2])
    return match.group() if value is None else f"{match[1]} {_cardinal(value, None, '')}".strip()


def _short(pattern: str, words: str, flags: int = 0) -> Rule:
    return re.compile(rf"(?<!\w){pattern}", flags), f"{words} "


_EARLY: tuple[Rule, ...] = (
    # The signs º and ª are letters o and a to Unicode, so they are read before it is asked.
    (re.compile(r"(?<!\w)[nN]\.?\s?[º°o]\.?\s?(?=\d)"), "número "),
    (re.compile(r"(?<!\w)[nN]úms?\.\s?(?=\d)"), "número "),
    (re.compile(r"(?<![\w.,])(\d{1,3})\.?º(?!\s?[CF])"), lambda m: _ordinal(int(m[1]), False)),
    (re.compile(r"(?<![\w.,])(\d{1,3})\.?ª"), lambda m: _ordinal(int(m[1]), True)),
    (re.compile(r"(?<![\w.,])([13])\.?(?:er|ᵉʳ)(?!\w)"), lambda m: _ordinal(int(m[1]), False, short=True)),
    (
        re.compile(r"(?<![\w.,])(\d{1,2})\.?(?:o|a)(?=\s(?:de|lugar|edición|piso|planta|vez|parte)(?!\w))"),
        lambda m: _ordinal(int(m[1]), m.group().endswith("a")),
    ),
    (re.compile("º"), "°"),
)

_FIRST: tuple[Rule, ...] = (
    _short(r"EE\.\s?UU\.?|EEUU", "Estados Unidos"), _short(r"p\.\s?ej\.", "por ejemplo"), _short(r"Sra\.", "señora"),
    _short(r"Sres\.", "señores"), _short(r"Sr\.", "señor"), _short(r"Srta\.", "señorita"), _short(r"Dra\.", "doctora"),
    _short(r"Dr\.", "doctor"), _short(r"Uds\.|Vds\.", "ustedes"), _short(r"Ud\.|Vd\.", "usted"),
    _short(r"etc\.", "etcétera"),
    _short(r"pág\.", "página", re.I), _short(r"págs\.", "páginas", re.I), _short(r"art\.\s?(?=\d)", "artículo", re.I),
    _short(r"cap\.\s?(?=[\dIVX])", "capítulo", re.I), _short(r"vol\.\s?(?=[\dIVX])", "volumen", re.I),
    _short(r"aprox\.", "aproximadamente", re.I), _short(r"Avda?\.", "avenida"), _short(r"C/\s?", "calle"),
    _short(r"a\.\s?C\.", "antes de Cristo"), _short(r"d\.\s?C\.", "después de Cristo"), _short(r"[Tt]el\.", "teléfono"),
    _short(r"Prof\.", "profesor"), _short(r"Gral\.", "general"), _short(r"Ing\.", "ingeniero"),
    _short(r"Lic\.", "licenciado"),
    _short(r"D\.(?=\s[A-ZÁÉÍÓÚ][a-zñáéíóú])", "don"), _short(r"Dña\.|D\.ª", "doña"), _short(r"S\.\s?A\.", "ese a"),
    _short(r"Sto\.", "santo"), _short(r"Sta\.", "santa"), _short(r"máx\.", "máximo"), _short(r"mín\.", "mínimo"),
    _short(r"a\.\s?m\.", "a eme"), _short(r"p\.\s?m\.", "pe eme"), _short(r"km/h(?=\s|$)", "kilómetros por hora"),
    (re.compile(rf"(?<!\w)({_RULERS}|{_RULERS_F})\s([IVX]{{1,6}})(?!\w)"), _ruler),
    (
        re.compile(
            r"(?<!\w)((?i:siglos?|capítulo|parte|tomo|volumen|título|artículo|acto|fase|tipo|guerra mundial))\s"
            r"([IVXLC]{1,7})(?!\w)"
        ),
        _numbered,
    ),
    (re.compile(r"(?<!\w)()([IVX]{2,6})(?!\w)"), _numbered),
)  # fmt: skip

_CYRILLIC = read_table(
    "а:a б:b в:v г:g д:d е:e ё:yo ж:zh з:z и:i й:i к:k л:l м:m н:n о:o п:p р:r "
    "с:s т:t у:u ф:f х:j ц:ts ч:ch ш:sh щ:sch ы:y э:e ю:yu я:ya і:i ї:yi є:ye ґ:g"
)
"""Cyrillic letters in Spanish spelling."""

_SPANISH = Grammar(
    lang="es",
    letters="abcdefghijklmnopqrstuvwxyzáéíóúüñ'",
    letter_names=pair_up(
        "abcdefghijklmnopqrstuvwxyzñ",
        "a be ce de e efe ge hache i jota ka ele eme ene o pe cu erre ese te u uve uve-doble equis i-griega zeta eñe",
    ),
    months=_MONTHS,
    short_months=_SHORT_MONTHS,
    units=_UNITS,
    currencies=_CURRENCIES,
    scales=_SCALES,
    signs={
        "&": "y", "@": "arroba", "#": "número", "№": "número", "%": "por ciento", "+": "más", "=": "igual a",
        "<": "menor que", ">": "mayor que", "~": "unos", "≈": "unos", "±": "más menos", "×": "por", "÷": "entre",
        "§": "sección", "°": "grados", "²": "al cuadrado", "³": "al cubo", "^": "elevado a", "€": "euros",
        "$": "dólares",
        "£": "libras", "≤": "como máximo", "≥": "como mínimo", "‰": "por mil", "¥": "yenes", "₽": "rublos",
    },
    address_signs={
        ".": "punto", "@": "arroba", "/": "barra", ":": "dos puntos", "-": "guion", "_": "guion bajo",
        "?": "interrogación", "=": "igual", "&": "y", "#": "almohadilla", "%": "por ciento", "+": "más",
        "~": "virgulilla",
    },
    cardinal=_cardinal,
    plain=_plain,
    ordinal_rules=(),
    date=_date,
    year=_year,
    time=_time,
    fraction=_fraction,
    of_scale=_of_scale,
    cents=_cents,
    comma="coma",
    point="punto",
    to="a",
    ratio="a",
    minus="menos",
    mixed="y",
    first=_FIRST,
    early=_EARLY,
    replace_letter=lambda char: _CYRILLIC.get(char, ""),
    read_as_words=word_set("OTAN ONU UNESCO UNICEF OVNI SIDA RENFE COVID FIFA UEFA IVA NASA OPEP"),
)  # fmt: skip


def prepare_spanish(text: str) -> Prepared:
    """Spanish text as its voice reads it: words and punctuation, in lower case."""
    return prepare_with(_SPANISH, text)
