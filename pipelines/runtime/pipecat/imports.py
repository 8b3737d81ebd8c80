"""``module:Name`` to an object, and written arguments to those of a call; imports nothing until it is asked to."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from tolmach.pipelines.errors import GraphError
from tolmach.pipelines.language.diagnostics import did_you_mean

__all__ = ["TARGET", "check_arguments", "load", "made", "top_level_is_there"]

TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""``module:Name``; the name may lead into a class (``module:Service.Settings``)."""

_IMPORT = "import"
_ARGUMENTS = "arguments"


def top_level_is_there(package: str) -> bool:
    """Whether a top-level package can be found; imports nothing, so what is inside it is not known."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the form of written arguments; imports nothing, and repeats no value, which may be a key.

    Raises:
        ValueError: If something in them can never be made.
    """
    for name, value in arguments.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{name!r} is no name of an argument")
        _check(value, name)


def _check(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        if _IMPORT not in value:
            for key, inner in value.items():
                _check(inner, f"{where}.{key}")
            return
        target, arguments = value[_IMPORT], value.get(_ARGUMENTS, {})
        if not isinstance(target, str) or not TARGET.fullmatch(target):
            raise ValueError(
                f"{where}: import must be module:Name, such as pipecat.transcriptions.language:Language.EN"
            )
        unknown = sorted(str(key) for key in value if key not in (_IMPORT, _ARGUMENTS))
        if unknown or not isinstance(arguments, Mapping):
            raise ValueError(f"{where}: beside import only arguments: {{...}} may stand")
        for key, inner in arguments.items():
            if not isinstance(key, str) or not key.isidentifier():
                raise ValueError(f"{where}: {key!r} is no name of an argument")
            _check(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check(inner, f"{where}[{number}]")


def load(target: str) -> Any:
    """The object that ``module:Name`` names. Blocks while its module is imported.

    Raises:
        GraphError: If there is no such module or name, or the module cannot be imported; says what to do.
    """
    module_name, _, path = target.partition(":")
    try:
        found = importlib.import_module(module_name)
    except Exception as error:  # somebody else's module; pipecat's services raise what they like
        raise GraphError(f"{target} cannot be imported: {error}. {_remedy(module_name, error)}") from error
    seen = module_name
    for name in path.split("."):
        if not hasattr(found, name):
            close = did_you_mean(name, [each for each in dir(found) if not each.startswith("_")])
            raise GraphError(f"{seen} has no {name!r}" + (f"; did you mean {close!r}?" if close else ""))
        found, seen = getattr(found, name), f"{seen}.{name}"
    return found


def _remedy(module: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and (module + ".").startswith(error.name + "."):
        close = ""
        if error.name.startswith("pipecat."):
            close = "; pipecat's own are listed at https://docs.pipecat.ai"
        return f"There is no module {error.name!r} here: check its name, or install the package it is part of{close}"
    if module.startswith("pipecat."):
        service = module.split(".")[2] if module.startswith("pipecat.services.") else "NAME"
        return f"Install what it needs; for pipecat's own services that is pip install 'pipecat-ai[{service}]'"
    return "Install what it needs"


def made(value: Any) -> Any:
    """Written arguments with everything in them imported and called. Blocks while it is.

    Raises:
        GraphError: If something cannot be imported or called so.
    """
    if isinstance(value, Mapping):
        if _IMPORT not in value:
            return {key: made(inner) for key, inner in value.items()}
        found = load(value[_IMPORT])
        return called(value[_IMPORT], found, made(value[_ARGUMENTS])) if _ARGUMENTS in value else found
    if isinstance(value, list | tuple):
        return [made(inner) for inner in value]
    return value


def called(target: str, found: Any, arguments: Mapping[str, Any]) -> Any:
    """What calling it with these arguments gives.

    Raises:
        GraphError: If it takes no such arguments.
        Exception: Whatever else it raises.
    """
    if not callable(found):
        raise GraphError(f"{target} is a {type(found).__name__} and cannot be called")
    try:
        return found(**arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside it: not the call was wrong
        raise GraphError(f"{target} does not take these arguments ({', '.join(arguments)}): {error}") from error
