"""A pronunciation lexicon of the user's own: words and phrases, and how a voice is to say them.

A file of lines ``what is written``, a tab, ``how it is read``; in Russian and Ukrainian a plus before a vowel marks the
stress (``замок<TAB>зам+ок``). Empty lines and those that begin with # are skipped. What is written in lower case is
found in any case; what has capitals is found as it stands (``US`` is not ``us``). Only whole words are found, the
longest entry first. A reading is text like any other: its numbers and signs become words too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tolmach.pipelines.errors import GraphError

LEXICON = (
    "Your own words and how to say them: a file that ends in .tsv, a line each, what is written, a tab, how it is "
    "read; in Russian and Ukrainian a plus before a vowel marks the stress (docs/GRAPHS.md)."
)
"""Description of the setting ``lexicon``, which every voice has."""

MAX_BYTES = 1 << 20
"""Of a lexicon's file, bytes."""

MAX_ENTRIES = 10_000
MAX_WRITTEN = 100
MAX_READ = 400
"""Of an entry, characters."""

STRESSED = frozenset(("ru", "uk"))
"""Languages whose Silero voices read a plus before a vowel as stress."""

_STRESS_MARK = re.compile(r"\+(?=[^\W\d_])")
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Lexicon:
    """Words and phrases with their readings."""

    def __init__(self, entries: Iterable[tuple[str, str]] = ()) -> None:
        """Take entries, the later ones winning."""
        # By first word or sign: the entries, and how long they are, the longest first.
        self._entries: dict[str, dict[str, str]] = {}
        for written, read in entries:
            self._entries.setdefault(_first(written), {})[written] = read
        self._lengths = {
            first: sorted({len(written) for written in found}, reverse=True) for first, found in self._entries.items()
        }

    def __len__(self) -> int:
        """How many entries it has."""
        return sum(map(len, self._entries.values()))

    def apply(self, text: str, *, stress: bool) -> str:
        """The text with the readings in place of what is written; linear in its length.

        Args:
            text: Any text.
            stress: Whether the voice reads a plus before a vowel as stress; the marks are left out for others.
        """
        if not self._entries:
            return text
        text = " ".join(unicodedata.normalize("NFC", text).split())
        said: list[str] = []
        done = 0
        for token in _TOKEN.finditer(text):
            if token.start() < done:
                continue
            found = self._find(text, token)
            if found is not None:
                end, read = found
                said += [text[done : token.start()], read if stress else _STRESS_MARK.sub("", read)]
                done = end
        return "".join(said) + text[done:]

    def _find(self, text: str, token: re.Match[str]) -> tuple[int, str] | None:
        """The longest entry that begins at a token: where it ends, and how it is read."""
        start = token.start()
        first = token.group().lower()
        if first not in self._entries or not _is_edge(text, start, first[0]):
            return None
        entries = self._entries[first]
        for length in self._lengths[first]:
            piece = text[start : start + length]
            if len(piece) < length or not _is_edge(text, start + length, piece[-1]):
                continue
            read = entries.get(piece) or entries.get(piece.lower())
            if read is not None:
                return start + length, read
        return None


def _first(written: str) -> str:
    token = _TOKEN.match(written)
    return token.group().lower() if token else ""


def _is_edge(text: str, at: int, inside: str) -> bool:
    """Whether no word goes on at a place in a text, the character inside being the entry's own."""
    if not inside.isalnum():
        return True
    around = (text[at - 1 : at], text[at : at + 1])
    other = around[1] if around[0] == inside and at > 0 else around[0]
    return not (other.isalnum() or other in ("+", "_", "\u0301"))


NO_LEXICON = Lexicon()


def check_path(value: str | None) -> str | None:
    """What a setting ``lexicon`` may hold; reads the file when it is there, so that a mistake is found with the graph.

    Raises:
        ValueError: If it is no such path, or the file holds a mistake; says which line.
    """
    if value is None:
        return None
    if not value.endswith(".tsv") or "\0" in value:
        raise ValueError(f"{value!r} is no lexicon: give a file of words and readings that ends in .tsv")
    try:
        path = find_lexicon(value, Path.cwd())
        if path.is_file():
            load_lexicon(value, Path.cwd())
    except GraphError as error:
        raise ValueError(str(error)) from None
    return value


def find_lexicon(value: str, base_dir: Path) -> Path:
    """The file that a setting names; a relative one stays inside the folder it starts from.

    Raises:
        GraphError: If it leaves that folder, by ``..`` or a link.
    """
    given = Path(value).expanduser()
    path = (base_dir / given).resolve()
    if not given.is_absolute() and not path.is_relative_to(base_dir.resolve()):
        raise GraphError(
            f"lexicon {value}: leaves the folder it starts from; move the file there, or give its whole path"
        )
    return path


def load_lexicon(value: str | None, base_dir: Path) -> Lexicon:
    """The lexicon that a setting names, read once while its file stays as it is; an empty one for None. Blocks for I/O.

    Raises:
        GraphError: If there is no such file, or it holds a mistake; names the line, and shows nothing of it.
    """
    if value is None:
        return NO_LEXICON
    path = find_lexicon(value, base_dir)
    try:
        status = path.stat()
    except OSError:
        raise GraphError(f"lexicon {value}: there is no such file in {base_dir}") from None
    if not path.is_file():
        raise GraphError(f"lexicon {value}: is no file")
    return _read(path, value, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _read(path: Path, name: str, _changed_ns: int, size: int) -> Lexicon:
    if size > MAX_BYTES:
        raise GraphError(f"lexicon {name}: has {size} bytes; {MAX_BYTES} are allowed")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)[:MAX_BYTES]
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise GraphError(f"lexicon {name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GraphError(f"lexicon {name}, line {line}: is not UTF-8; save the file as UTF-8") from None
    return Lexicon(parse(text, name))


def parse(text: str, name: str) -> list[tuple[str, str]]:
    """The entries of a lexicon.

    Args:
        text: Its lines.
        name: What to call it in errors.

    Raises:
        GraphError: If a line holds a mistake, names it; if there are too many.
    """
    entries: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        if problem := _problem(line):
            raise GraphError(f"lexicon {name}, line {number}: {problem}")
        written, read = (" ".join(unicodedata.normalize("NFC", part).split()) for part in line.split("\t"))
        if written in entries and entries[written][0] != read:
            raise GraphError(
                f"lexicon {name}, line {number}: line {entries[written][1]} has another reading of the same"
            )
        entries[written] = (read, number)
        if len(entries) > MAX_ENTRIES:
            raise GraphError(f"lexicon {name}, line {number}: is one entry too many; {MAX_ENTRIES} are allowed")
    return [(written, read) for written, (read, _) in entries.items()]


def _problem(line: str) -> str:
    """What is wrong with a line, "" for nothing; nothing of the line is shown, for it may be of another file."""
    written, tab, read = line.partition("\t")
    if not tab:
        return "has no tab between what is written and how it is read"
    if "\t" in read:
        return "has more than one tab"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Co") for c in written + read):
        return "has a control character"
    if not any(c.isalnum() for c in written):
        return "has no word before the tab"
    if not any(c.isalnum() for c in read):
        return "has no reading after the tab"
    if len(written) > MAX_WRITTEN or len(read) > MAX_READ:
        return f"is too long: {MAX_WRITTEN} characters are allowed before the tab, {MAX_READ} behind it"
    if re.search(r"\+(?![аеёиоуыэюяіїє])", read.lower()) and re.search(r"[а-яёіїєґ]\+|\+[а-яёіїєґ]", read.lower()):
        return "has a stress mark (+) that no vowel follows"
    return ""
