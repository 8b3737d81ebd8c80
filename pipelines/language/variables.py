"""Variables in scalars: ``${env:NAME}``, ``${env:NAME:-default}``, ``${env:NAME:?message}``, ``${param:NAME}``.

They are expanded in scalars that are parsed already, never in raw text: whatever a value holds, it stays one value and
cannot add keys, elements or links. A scalar that is exactly one ``${param:NAME}`` keeps the type of the param; mixed
text becomes text. ``$${`` is a literal ``${``. Expansion happens once: a value that holds ``${`` is not expanded again.

Params are what a graph or a bin can be given from outside. A declaration is a default, nothing (the param is required),
or a mapping::

    params:
      input:                                        # required
      output: out
      from: {default: en, choices: [en, ru], description: Language spoken in the recording., role: source_lang}

What a param means to those who give it, it declares as its ``role``; one that does not say has the role of its name, if
that is one (:data:`ParamRole`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from tolmach.pipelines.errors import Span
from tolmach.pipelines.language.diagnostics import Diagnostics, show_value, suggest
from tolmach.pipelines.language.document import YamlEntry, YamlMapping, YamlScalar, YamlSequence, YamlValue, is_null

__all__ = [
    "NO_ROLE",
    "ROLES",
    "Expanded",
    "ParamDef",
    "ParamRole",
    "Scope",
    "expand",
    "mentioned_params",
    "param_with_role",
    "parse_params",
    "resolve_params",
]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A value after expansion.

    Attributes:
        value: Plain Python: scalars, lists, dicts with text keys.
        span: Where it is written.
        unset: Params without a value that it depends on; they stand in ``value`` as ``<name>``.
        failed: Whether a variable in it was already reported, so that nothing more should be said about it.
        children: Places of the parts of a list or mapping, by index or key.
        free: Params of the graph from which it is made and which may be given any value.
    """

    value: Any
    span: Span
    unset: frozenset[str] = frozenset()
    failed: bool = False
    children: Mapping[str | int, Expanded] = field(default_factory=dict, compare=False)
    free: frozenset[str] = frozenset()


class Scope(NamedTuple):
    """What variables mean in one level of a graph.

    Attributes:
        params: Values by name; one that depends on unset params has ``unset``.
        env: The environment.
        owner: Who declares the params, for messages: "the graph" or "bin 'name'".
        params_allowed: False inside ``params`` itself.
    """

    params: Mapping[str, Expanded]
    env: Mapping[str, str]
    owner: str = "the graph"
    params_allowed: bool = True


def expand(written: YamlValue, scope: Scope, problems: Diagnostics) -> Expanded:
    """Expand every scalar of a tree (keys are not expanded).

    Reports ``missing-env``, ``missing-param`` (not declared) and ``bad-value`` (malformed variable).
    """
    if isinstance(written, YamlScalar):
        if "$" not in written.text:
            return Expanded(written.value, written.span)
        return _ScalarExpansion(written, scope, problems).expand()
    if isinstance(written, YamlSequence):
        items = [expand(item, scope, problems) for item in written.items]
        return _collection([i.value for i in items], written.span, dict(enumerate(items)))
    parts: dict[str | int, Expanded] = {entry.key: expand(entry.value, scope, problems) for entry in written}
    return _collection({key: part.value for key, part in parts.items()}, written.span, parts)


def _collection(value: Any, span: Span, children: Mapping[str | int, Expanded]) -> Expanded:
    unset = frozenset[str]().union(*(c.unset for c in children.values()))
    free = frozenset[str]().union(*(c.free for c in children.values()))
    return Expanded(value, span, unset, any(c.failed for c in children.values()), children, free)


_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<kind>env|param):(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:[-?][^}]*)?\})?")


def mentioned_params(text: str) -> Iterator[tuple[str, int, int]]:
    """Names of the params that a text mentions, with where each begins and how long it is."""
    for found in _VARIABLE.finditer(text) if "$" in text else ():
        if found["kind"] == "param":
            yield found["name"], found.start("name"), len(found["name"])


class _ScalarExpansion:
    """Expands one scalar."""

    def __init__(self, scalar: YamlScalar, scope: Scope, problems: Diagnostics) -> None:
        self.scalar, self.scope, self.problems = scalar, scope, problems
        self.unset: set[str] = set()
        self.free: set[str] = set()
        self.failed = False

    def expand(self) -> Expanded:
        text, span = self.scalar.text, self.scalar.span
        matches = list(_VARIABLE.finditer(text))
        if not matches:
            return Expanded(self.scalar.value, span)
        if len(matches) == 1 and matches[0]["kind"] == "param" and matches[0].group() == text:
            whole = self.param(matches[0])
            if whole is not None:
                self.problems.spend(1 + len(whole.children), span)
                return Expanded(whole.value, span, whole.unset, whole.failed or self.failed, free=whole.free)
        value = "".join(self.pieces(text, matches))
        return Expanded(value, span, frozenset(self.unset), self.failed, free=frozenset(self.free))

    def pieces(self, text: str, matches: list[re.Match[str]]) -> Iterator[str]:
        at = 0
        for match in matches:
            yield text[at : match.start()]
            at = match.end()
            if match.group() == "$${":
                yield "${"
            elif match["kind"] in ("env", "param"):
                value = self.env(match) if match["kind"] == "env" else self.param_text(match)
                self.problems.spend(len(value), self.scalar.span)
                yield value
            else:
                self.fail("bad-value", match, "not a variable", _FORMS)
        yield text[at:]

    def env(self, match: re.Match[str]) -> str:
        name, rest = match["name"], match["rest"] or ""
        if "${" in rest:  # it would end at the inner "}", and the outer one would stay in the text
            self.fail("bad-value", match, "a variable cannot stand inside another", "give a default that is plain text")
            return ""
        value = self.scope.env.get(name)
        if value is not None and not (value == "" and rest):  # as in a shell, ":-" and ":?" also stand in for ""
            return value
        if rest.startswith(":-"):
            return rest[2:]
        said = rest[2:].strip() or f"environment variable {name} is not set"
        self.fail("missing-env", match, said, f"set {name}, or give a default: ${{env:{name}:-default}}")
        return ""

    def param(self, match: re.Match[str]) -> Expanded | None:
        name = match["name"]
        if match["rest"]:
            self.fail("bad-value", match, "a param takes its default where it is declared", f"write ${{param:{name}}}")
        elif not self.scope.params_allowed:
            self.fail("bad-value", match, "a param's default cannot use another param", "use ${env:NAME:-default}")
        elif (found := self.scope.params.get(name)) is not None:
            return found
        else:
            hint = suggest(name, self.scope.params, f"declare it: params: {{{name}: }}")
            self.fail("missing-param", match, f"{self.scope.owner} has no param named {name!r}", hint)
        return None

    def param_text(self, match: re.Match[str]) -> str:
        found = self.param(match)
        if found is None:
            return ""
        self.unset |= found.unset
        self.free |= found.free
        self.failed |= found.failed
        value = found.value
        if isinstance(value, list | dict):
            self.fail("bad-value", match, f"param {match['name']!r} is a collection and cannot be part of a text")
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def fail(self, code: str, match: re.Match[str], message: str, hint: str | None = None) -> None:
        self.failed = True
        # A malformed variable is matched by its "${" alone; show it up to its end.
        end = self.scalar.text.find("}", match.start())
        length = (end + 1 if end >= 0 else len(self.scalar.text)) - match.start()
        self.problems.add(code, self.scalar.part(match.start(), length), message, hint=hint)


_FORMS = "write ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?message}, ${param:NAME}, or $${ for a literal ${"


ParamRole = Literal["input", "output", "source_lang", "target_lang", "voice"]
"""What a param means to those who give it: the recording, the folder for what is made of it, the language that is
spoken, the one it is translated into, who speaks."""

ROLES: tuple[ParamRole, ...] = get_args(ParamRole)
NO_ROLE = "none"
"""What a param declares that is called like a role and has another meaning."""
_SHARED_ROLES = frozenset[ParamRole]({"voice"})
"""Roles that several params of a graph may have: people are shown all of them. The others are given a value unasked."""
_KEYS = ("default", "choices", "description", "role")


@dataclass(frozen=True, slots=True)
class ParamDef:
    """A declared param.

    Attributes:
        name: Its name.
        default: Value when none is given; None when there is none. Variables in it are not expanded here.
        choices: The only values it may have; empty when any value will do.
        description: For people.
        required: Whether it has no default.
        span: Where it is declared.
        written: The default as written, or None.
        role: What it means to those who give it, or None; those of a bin have none.
    """

    name: str
    default: Any
    choices: tuple[Any, ...]
    description: str
    required: bool
    span: Span
    written: YamlScalar | None = None
    role: ParamRole | None = None


def param_with_role(params: Iterable[ParamDef], role: ParamRole) -> ParamDef | None:
    """The first param that has a role, or None."""
    return next((param for param in params if param.role == role), None)


def parse_params(entry: YamlEntry | None, problems: Diagnostics, *, of_bin: bool = False) -> dict[str, ParamDef]:
    """Read a ``params`` section; reports ``bad-value`` and ``unknown-field``.

    Args:
        entry: The section, or None where there is none.
        problems: Takes what is wrong.
        of_bin: Whether they are those of a bin: its instances give them, not people, so they have no roles.
    """
    if entry is None or is_null(entry.value):
        return {}
    if not isinstance(entry.value, YamlMapping):
        problems.add("bad-value", entry.value.span, "params must be a mapping", hint="params: {input: , output: out}")
        # What a list names was meant to be declared: whoever uses it is not wrong as well.
        items = entry.value.items if isinstance(entry.value, YamlSequence) else ()
        return {i.text: ParamDef(i.text, None, (), "", True, i.span) for i in items if isinstance(i, YamlScalar)}
    params = {}
    for item in entry.value:
        if not item.key.isidentifier() or not item.key.isascii():
            hint = "use letters, digits and underscores"
            problems.add("bad-value", item.key_span, f"{item.key!r} is not a name for a param", hint=hint)
            continue
        params[item.key] = _parse_one(item, problems, of_bin)
    _check_roles(params.values(), problems)
    return params


def _check_roles(params: Iterable[ParamDef], problems: Diagnostics) -> None:
    """Report params that share a role which only one may have."""
    first: dict[ParamRole, ParamDef] = {}
    for param in params:
        if param.role is None or param.role in _SHARED_ROLES:
            continue
        other = first.setdefault(param.role, param)
        if other is not param:
            # One of them need not say so: that of the name.
            hint = (
                f"{param.role}: {{role: {NO_ROLE}}} gives it no role"
                if param.role in (param.name, other.name)
                else "let one of them have it"
            )
            message = f"{param.name!r} and {other.name!r} (line {other.span.line}) both have the role {param.role}"
            problems.add("bad-value", param.span, message, hint=hint)


def _parse_one(item: YamlEntry, problems: Diagnostics, of_bin: bool) -> ParamDef:
    written = item.value
    by_name = None if of_bin else next((role for role in ROLES if role == item.key), None)
    bare = ParamDef(item.key, None, (), "", True, item.key_span, role=by_name)
    if isinstance(written, YamlScalar):
        return replace(bare, default=written.value, required=written.value is None, written=written)
    if isinstance(written, YamlSequence):
        hint = f"{item.key}: {{choices: [...]}} declares what it may be"
        problems.add("bad-value", written.span, f"the default of {item.key!r} must be one value, got a list", hint=hint)
        return replace(bare, required=False)
    for entry in written:
        if entry.key == "role" and of_bin:
            hint = "its instances give it; only the graph's own params have roles"
            problems.add("unknown-field", entry.key_span, "a param of a bin has no 'role'", hint=hint)
        elif entry.key not in _KEYS:
            known = suggest(entry.key, _KEYS, "a param has default, choices, description and role")
            problems.add("unknown-field", entry.key_span, f"a param has no {entry.key!r}", hint=known)
    choices = _choices(written.get("choices"), problems)
    described = _scalar(written.get("description"), "a description", problems)
    default = _scalar(written.get("default"), "a default", problems)
    return replace(
        bare,
        default=default.value if default else None,
        choices=choices,
        description=described.text if described else "",
        required=default is None or default.value is None,
        written=default,
        role=_role(declared, problems) if (declared := written.get("role")) and not of_bin else by_name,
    )


def _role(entry: YamlEntry, problems: Diagnostics) -> ParamRole | None:
    declared = _scalar(entry, "a role", problems)
    if declared is None or declared.value in (None, NO_ROLE):
        return None
    for role in ROLES:
        if declared.value == role:
            return role
    hint = suggest(str(declared.value), (*ROLES, NO_ROLE), f"use {', '.join(ROLES)} or {NO_ROLE}")
    problems.add("bad-value", declared.span, f"{show_value(declared.value)} is not a role of a param", hint=hint)
    return None


def _scalar(entry: YamlEntry | None, what: str, problems: Diagnostics) -> YamlScalar | None:
    if entry is None or isinstance(entry.value, YamlScalar):
        return entry.value if entry else None  # type: ignore[return-value] # narrowed by the line above
    problems.add("bad-value", entry.value.span, f"{what} must be one value")
    return None


def _choices(entry: YamlEntry | None, problems: Diagnostics) -> tuple[Any, ...]:
    if entry is None:
        return ()
    if isinstance(entry.value, YamlSequence) and entry.value.items:
        items = [i for i in entry.value.items if isinstance(i, YamlScalar)]
        if len(items) == len(entry.value.items):
            return tuple(i.value for i in items)
    problems.add("bad-value", entry.value.span, "choices must be a list of values", hint="choices: [en, ru]")
    return ()


def resolve_params(
    defs: Mapping[str, ParamDef],
    given: Mapping[str, Expanded],
    env: Mapping[str, str],
    problems: Diagnostics,
    *,
    of_bin: bool = False,
) -> dict[str, Expanded]:
    """Values of params: what was given, else the default with variables expanded, else unset.

    A null counts as not given. Reports ``bad-value`` for a value that is not among the choices; names in ``given``
    that are not declared are the caller's to report.
    """
    values = {}
    for name, declared in defs.items():
        value = given.get(name)
        if value is None or (value.value is None and not value.failed):
            value = _default(declared, env, problems)
        if declared.choices and not value.unset and not value.failed:
            value = _check_choice(declared, value, problems)
        # What the instance of a bin is given is as free as what it was made from.
        free = () if declared.choices else value.free if of_bin else (name,)
        values[name] = replace(value, free=frozenset(free))
    return values


def _default(declared: ParamDef, env: Mapping[str, str], problems: Diagnostics) -> Expanded:
    if declared.written is None or declared.required:
        unset = frozenset({declared.name} if declared.required else ())
        return Expanded(f"<{declared.name}>", declared.span, unset, failed=not declared.required)
    return expand(declared.written, Scope({}, env, params_allowed=False), problems)


def _check_choice(declared: ParamDef, value: Expanded, problems: Diagnostics) -> Expanded:
    if any(type(value.value) is type(choice) and value.value == choice for choice in declared.choices):
        return value
    listed = ", ".join(show_value(choice) for choice in declared.choices)
    message = f"{declared.name} must be one of {listed}, got {show_value(value.value)}"
    hint = suggest(str(value.value), [c for c in declared.choices if isinstance(c, str)])
    problems.add("bad-value", value.span, message, hint=hint)
    return replace(value, failed=True)
