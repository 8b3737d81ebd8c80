"""Languages by BCP-47 tag: their names and the script they are written in.

Caps carry language *and* script (``text/x-translation, lang=ru, script=cyrl``), so that English text never reaches a
Russian voice. The table covers the languages of Whisper, which include all of Canary-1b-v2's. Scripts are ISO 15924
codes in lower case, the default script of a language as CLDR's likelySubtags gives it
(https://github.com/unicode-org/cldr/blob/main/common/supplemental/likelySubtags.xml).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "ABBREVIATIONS",
    "LANGUAGES",
    "is_in_script",
    "language_name",
    "letters_of",
    "primary_language",
    "script_of",
    "text_caps",
]

ABBREVIATIONS = r"[^\W\d_]|mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|гг|вв|ул|им|стр|рис|тыс|руб|др|см|ср|обл"
"""Words whose full stop ends no sentence, and initials: alternatives of a regular expression, English and Russian."""

_TABLE = """
af Afrikaans latn;       am Amharic ethi;         ar Arabic arab;          as Assamese beng;        az Azerbaijani latn
ba Bashkir cyrl;         be Belarusian cyrl;      bg Bulgarian cyrl;       bn Bangla beng;          bo Tibetan tibt
br Breton latn;          bs Bosnian latn;         ca Catalan latn;         cs Czech latn;           cy Welsh latn
da Danish latn;          de German latn;          el Greek grek;           en English latn;         es Spanish latn
et Estonian latn;        eu Basque latn;          fa Persian arab;         fi Finnish latn;         fo Faroese latn
fr French latn;          gl Galician latn;        gu Gujarati gujr;        ha Hausa latn;           haw Hawaiian latn
he Hebrew hebr;          hi Hindi deva;           hr Croatian latn;        ht Haitian-Creole latn;  hu Hungarian latn
hy Armenian armn;        id Indonesian latn;      is Icelandic latn;       it Italian latn;         ja Japanese jpan
jv Javanese latn;        ka Georgian geor;        kk Kazakh cyrl;          km Khmer khmr;           kn Kannada knda
ko Korean kore;          la Latin latn;           lb Luxembourgish latn;   ln Lingala latn;         lo Lao laoo
lt Lithuanian latn;      lv Latvian latn;         mg Malagasy latn;        mi Māori latn;           mk Macedonian cyrl
ml Malayalam mlym;       mn Mongolian cyrl;       mr Marathi deva;         ms Malay latn;           mt Maltese latn
my Burmese mymr;         ne Nepali deva;          nl Dutch latn;           nn Norwegian-Nynorsk latn
no Norwegian latn;       oc Occitan latn;         pa Punjabi guru;         pl Polish latn;          ps Pashto arab
pt Portuguese latn;      ro Romanian latn;        ru Russian cyrl;         sa Sanskrit deva;        sd Sindhi arab
si Sinhala sinh;         sk Slovak latn;          sl Slovenian latn;       sn Shona latn;           so Somali latn
sq Albanian latn;        sr Serbian cyrl;         su Sundanese latn;       sv Swedish latn;         sw Swahili latn
ta Tamil taml;           te Telugu telu;          tg Tajik cyrl;           th Thai thai;            tk Turkmen latn
tl Tagalog latn;         tr Turkish latn;         tt Tatar cyrl;           uk Ukrainian cyrl;       ur Urdu arab
uz Uzbek latn;           vi Vietnamese latn;      yi Yiddish hebr;         yo Yoruba latn;          yue Cantonese hant
zh Chinese hans
"""


def _read(table: str) -> dict[str, tuple[str, str]]:
    rows = (entry.split() for line in table.strip().splitlines() for entry in line.split(";"))
    return {code: (name.replace("-", " "), script) for code, name, script in rows}


# RFC 5646, section 2.1, as far as it matters here: what is no tag must not find its way into written caps.
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")

LANGUAGES = _read(_TABLE)
"""English name and default script of each language, by its primary subtag."""


def primary_language(tag: str) -> str:
    """The primary subtag of a BCP-47 tag, lower case: ``pt`` for ``pt-BR``."""
    return tag.replace("_", "-").split("-", 1)[0].lower()


def language_name(tag: str) -> str:
    """The English name of the tag's language, or the tag itself when it is not in the table."""
    entry = LANGUAGES.get(primary_language(tag))
    return entry[0] if entry else tag


def script_of(lang: str) -> str:
    """The script of a language as it stands in caps: ``cyrl`` for ``ru``, ``latn`` for ``sr-Latn``.

    A script subtag in the tag itself wins over the table (RFC 5646, section 2.2.3: four letters after the language).

    Raises:
        ValueError: If it is no tag, or the language is not in the table and the tag names no script.
    """
    subtags = lang.replace("_", "-").split("-") if _TAG.fullmatch(lang) else [""]
    for subtag in subtags[1:]:
        if len(subtag) == 4 and subtag.isalpha():
            return subtag.lower()
    entry = LANGUAGES.get(subtags[0].lower())
    if entry is None:
        raise ValueError(f"unknown language {lang!r}: use a BCP-47 tag such as en, ru or pt-BR")
    return entry[1]


def text_caps(langs: Iterable[str]) -> str:
    """Written caps of texts in any of some languages: ``text/x-translation, lang={en, ru}, script={cyrl, latn}``.

    Raises:
        ValueError: As :func:`script_of`.
    """
    langs = sorted(set(langs))
    return f"text/x-translation, lang={_any_of(langs)}, script={_any_of(sorted(set(map(script_of, langs))))}"


def _any_of(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else "{" + ", ".join(values) + "}"


_LETTERS = {"latn": "LATIN", "cyrl": "CYRILLIC", "grek": "GREEK"}
"""How Unicode names the letters of a script begin; only scripts that Canary's languages are written in."""


def is_in_script(text: str, script: str) -> bool:
    """Whether a text may be in a script: False for three words or more without one letter of it.

    Names stay in the script they came in ("Windows", "Rolling Stones"), so fewer words prove nothing.
    """
    name = _LETTERS.get(script)
    if name is None or sum(any(map(str.isalpha, word)) for word in text.split()) < 3:
        return True
    return any(unicodedata.name(letter, "").startswith(name) for letter in text)


def letters_of(script: str) -> Callable[[str], bool] | None:
    """Whether a letter belongs to a script, or None for scripts that are not told apart here."""
    name = _LETTERS.get(script)
    return None if name is None else lambda letter: unicodedata.name(letter, "").startswith(name)
