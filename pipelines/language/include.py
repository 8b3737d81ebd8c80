"""``include:``: bins that other files hold.

    include: [shared/bins.yaml]

A file that is included has ``version`` and ``bins``, perhaps ``name``, ``description`` and ``include``, and nothing
that runs. Paths start from the folder of the file that names them and lead to what lies in that folder or below, links
followed; whoever runs a command may trust other folders, a graph may not. Depth, files, text and values are bounded
(docs/adr/0027), and what was read is kept, so that a graph can be checked again as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics
from tolmach.pipelines.language.document import (
    YamlMapping,
    YamlScalar,
    YamlSequence,
    check_keys,
    check_version,
    count_values,
    is_null,
    parse_document,
    read_source,
)

__all__ = ["Included", "IncludedFile", "Includes", "read_includes", "text_now"]

MAX_DEPTH = 8
_KEYS = ("version", "name", "description", "include", "bins")
_HINT = "include: [shared/bins.yaml]"


class IncludedFile(NamedTuple):
    """A file that is included, as it was found.

    Attributes:
        folder: That of the file which includes it; it must lie in there.
        text: What it held, or None when it could not be read, or may not.
    """

    folder: str
    text: str | None


class Includes(NamedTuple):
    """Where the files lie that a graph includes.

    Attributes:
        folder: That of the graph; None for a text that has none, which can include nothing.
        trusted: Folders in which they may lie, too, wherever the file is that names them.
        found: What an earlier check found (:attr:`Included.files`), to be used instead of what lies there now.
    """

    folder: Path | None
    trusted: tuple[Path, ...] = ()
    found: Mapping[str, IncludedFile] | None = None


@dataclass(slots=True)
class Included:
    """What a graph includes.

    Attributes:
        documents: Sound documents, each once, what a file includes before itself.
        sources: Texts by name, as diagnostics call the files.
        files: All files that were asked for, by path; made from the folder and what is written, links not followed.
        broken: Whether something could not be included, so that a bin which seems not to exist may have been in it.
    """

    documents: list[YamlMapping] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    files: dict[str, IncludedFile] = field(default_factory=dict)
    broken: bool = False


def read_includes(root: YamlMapping, file: str, includes: Includes, included: Included, problems: Diagnostics) -> None:
    """Read all that a document includes.

    Args:
        root: The document.
        file: Its name in diagnostics.
        includes: Where the files lie.
        included: Takes what they hold, also as far as it came before the check stopped.
        problems: Takes what is wrong.

    Raises:
        CheckStopped: When it is more than a check takes on.
    """
    entry = root.get("include")
    if entry is not None and includes.folder is None:
        problems.add("bad-include", entry.key_span, "a text without a folder can include nothing")
        included.broken = True
    elif includes.folder is not None:
        path = os.path.normpath(includes.folder / Path(file).name)
        _Reader(includes, included, problems).follow(root, file, str(includes.folder), (path,))


def text_now(path: str, folder: str, trusted: tuple[Path, ...] = ()) -> str | None:
    """What an included file holds now; None when it cannot be read, or may not."""
    try:
        return read_source(_allowed(path, folder, trusted), path, Diagnostics())
    except _Refused:
        return None


class _Refused(Exception):  # noqa: N818 -- becomes a diagnostic where the file is named
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def _allowed(path: str, folder: str, trusted: tuple[Path, ...]) -> Path:
    """The file that a path leads to, links followed. What lies elsewhere is refused before it is looked at."""
    try:
        real = Path(path).resolve()
        inside = any(real.is_relative_to(each.resolve()) for each in (Path(folder), *trusted))
    except (OSError, RuntimeError, ValueError):  # links in a circle, a null byte
        raise _Refused("cannot be found", "it starts from the folder of this file") from None
    if not inside:
        hint = "include what lies beside this file or below; --trust-includes DIR allows another folder"
        raise _Refused("leads out of the folder of this file", hint)
    if not real.is_file():  # nor a pipe or a device, which might never end
        raise _Refused("is no file", "the path starts from the folder of this file")
    return real


class _Reader:
    def __init__(self, includes: Includes, included: Included, problems: Diagnostics) -> None:
        self.includes, self.included, self.problems = includes, included, problems
        self.values = 0

    def follow(self, root: YamlMapping, file: str, folder: str, chain: tuple[str, ...]) -> None:
        for item in self.named(root):
            path = os.path.normpath(Path(folder, item.text))
            shown = os.path.normpath(Path(file).parent / item.text)
            if path in chain:
                ring = " -> ".join(Path(each).name for each in (*chain[chain.index(path) :], path))
                self.refuse(item, f"{item.text!r} includes itself: {ring}")
            elif len(chain) > MAX_DEPTH:
                self.refuse(item, f"files are included deeper than {MAX_DEPTH} levels")
            elif path not in self.included.files:
                document = self.document(item, path, shown, folder)
                if document is None:
                    self.included.broken = True  # and reported
                    continue
                self.follow(document, shown, str(Path(path).parent), (*chain, path))
                self.included.documents.append(document)

    def refuse(self, item: YamlScalar, message: str, hint: str | None = None) -> None:
        self.included.broken = True
        self.problems.add("bad-include", item.span, message, hint=hint)

    def named(self, root: YamlMapping) -> Iterator[YamlScalar]:
        entry = root.get("include")
        if entry is None or is_null(entry.value):
            return
        if not isinstance(entry.value, YamlSequence):
            self.included.broken = True
            self.problems.add("bad-value", entry.value.span, "include must be a list of files", hint=_HINT)
            return
        for item in entry.value.items:
            if not isinstance(item, YamlScalar) or not item.text:
                self.included.broken = True
                self.problems.add("bad-value", item.span, "include must be a list of files", hint=_HINT)
            elif "${" in item.text:
                self.included.broken = True
                message = "a file that is included has a fixed name; variables are not expanded here"
                self.problems.add("bad-value", item.span, message, hint="choose with params of a bin")
            else:
                yield item

    def document(self, item: YamlScalar, path: str, shown: str, folder: str) -> YamlMapping | None:
        """The document of a file, if it is one whose bins can be used."""
        text = self.text(item, path, shown, folder)
        self.included.files[path] = IncludedFile(folder, text)
        if text is None:
            return None
        text = text.removeprefix("\ufeff")
        self.included.sources[shown] = text
        self.problems.take_in(len(text), item.span)
        root = parse_document(text, shown, self.problems)
        if root is None:
            return None
        self.values += count_values(root)
        self.problems.take_in_values(self.values, item.span)
        if not isinstance(root, YamlMapping):
            hint = "version: 1, then bins:"
            self.problems.add("bad-value", Span(shown, 1, 1), "an included file must be a mapping", hint=hint)
            return None
        check_keys(root, _KEYS, "an included file", self.problems)
        check_version(root, "an included file", self.problems)
        return root

    def text(self, item: YamlScalar, path: str, shown: str, folder: str) -> str | None:
        if self.includes.found is not None:
            found = self.includes.found.get(path)
            if found is None or found.text is None:
                self.refuse(item, f"{item.text!r} was not there")
                return None
            return found.text
        try:
            return read_source(_allowed(path, folder, self.includes.trusted), shown, self.problems)
        except _Refused as refused:
            self.refuse(item, f"{item.text!r} {refused.message}", refused.hint)
            return None
