"""What pyproject.toml says of other people's releases."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [
    Requirement(text)
    for name in ("canary", "silero", "stress", "eval", "ray")
    for text in PROJECT["optional-dependencies"][name]
]
REQUIREMENTS = [*(Requirement(text) for text in PROJECT["dependencies"]), *EXTRAS]
ROOMS = ("pipelines", "processors", "transports", "web")
RECIPE = ROOT / "processors" / "phrasebook" / "recipe"


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_no_release_is_taken_unseen(requirement: Requirement) -> None:
    lowest = {each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")}
    highest = {each.version for each in requirement.specifier if each.operator in ("<", "<=", "==", "~=")}
    assert lowest, f"{requirement}: without a lower bound pip may take a release that lacks what is used"
    assert highest, f"{requirement}: without an upper bound the next release breaks every new installation"


def test_what_is_imported_is_declared() -> None:
    declared = {canonicalize_name(each.name) for each in REQUIREMENTS}
    distributions = packages_distributions()
    undeclared = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.is_relative_to(RECIPE):  # trains the shipped model; needs what CONTRIBUTING does not install
                continue
            # The other is the package that `tolmach new` writes, under the name it has in the templates.
            for name in imports(path) - set(sys.stdlib_module_names) - {"tolmach", "tolmach_my_element"}:
                owners = {canonicalize_name(owner) for owner in distributions.get(name, [name])}
                if not owners & (declared | {"pydantic-core", "annotated-types"}):  # both are pydantic's own parts
                    undeclared.setdefault(name, path.relative_to(ROOT))
    assert undeclared == {}


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports, at whatever depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_cpu_build_that_is_recommended_is_one_that_is_allowed() -> None:
    """Else pip takes it away again and fetches PyPI's build with CUDA in its place."""
    (bound,) = {str(each.specifier) for each in EXTRAS if each.name == "torch"}
    runbook = (ROOT / "docs" / "RUNBOOK.md").read_text(encoding="utf-8")
    (recommended,) = re.findall(r"pip install '(torch[^']*)' --index-url", runbook)
    assert {str(each) for each in Requirement(recommended).specifier} <= set(bound.split(","))


def test_every_python_that_is_promised_is_named() -> None:
    named = {line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert {"3.11", "3.12", "3.13"} <= named
