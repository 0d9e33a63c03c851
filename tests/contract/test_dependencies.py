"""Who may import whom, and what the domain may not reach for.

::

    domain      the standard library and each other
    seam        what the paths ask of the world (`ports`), and what is made of it: + domain
    paths       one function each, from top to bottom: + domain, seam
    adapters    translate the outside world: + domain, seam; never a path, never each other
                but for `aws.batch`, which reads what `aws.events` spells out, and the
                parts of `wdl`, which are one adapter
    functions   composition roots: anything
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transformed import ROOT

PACKAGE = ROOT / "layers/common/dropwell"


def named(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {named(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.stat().st_size}
MODULES.pop("", None)


def parts_of(*tops: str) -> set[str]:
    """Return the modules of these names, and those within the packages of these names."""
    return {name for name in MODULES if name.partition(".")[0] in tops}


SEAM = parts_of("ports", "ledger", "reports")
PATHS = parts_of(
    "submission", "preparing", "tracking", "polling", "diagnosis", "telling", "control"
)
ADAPTERS = parts_of("cromwell", "wdl", "settings", "aws")
DOMAIN = set(MODULES) - SEAM - PATHS - ADAPTERS


def itself(name: str) -> set[str]:
    """Return the modules that make up one adapter: a package, but in ``aws`` each on its own."""
    top = name.partition(".")[0]
    return {name} if top == "aws" else parts_of(top)


OUTSIDE = {
    "aws": {"boto3", "botocore"},
    "aws.kept": {"boto3", "botocore", "aws_lambda_powertools"},
    "cromwell": {"urllib3"},
    "wdl": {"WDL", "lark"},
}
WDL = {name for name in MODULES if name.startswith("wdl")}
BESIDES = {"aws.batch": {"aws.events"}} | dict.fromkeys(WDL, WDL)
TYPES_ONLY = {"typing", "mypy_boto3_batch", "mypy_boto3_dynamodb", "mypy_boto3_events",
              "mypy_boto3_logs", "mypy_boto3_s3", "mypy_boto3_sns", "mypy_boto3_sqs"}  # fmt: skip

# What makes a function answer differently to the same question.
THE_WORLD = {"os", "time", "random", "socket", "ssl", "subprocess", "secrets", "tempfile",
             "threading", "urllib.request", "http.client", "pathlib", "shutil"}  # fmt: skip


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(name: str) -> set[str]:
    """Return which modules of the package a module imports."""
    told = (
        text.removeprefix("dropwell.") for text in imported(MODULES[name]) if "dropwell" in text
    )
    return {module for module in told if module in MODULES}


def theirs(name: str) -> set[str]:
    """Return what a module imports from outside package and standard library."""
    tops = {text.partition(".")[0] for text in imported(MODULES[name])} - {"dropwell"}
    return tops - sys.stdlib_module_names - TYPES_ONLY


def test_every_module_has_its_place():
    tops = {name.partition(".")[0] for name in SEAM | PATHS | ADAPTERS}
    assert len(tops) == 14, "a module of these was renamed"


@pytest.mark.parametrize("name", sorted(DOMAIN))
def test_the_domain_knows_only_itself(name):
    assert ours(name) <= DOMAIN
    assert theirs(name) == set()


@pytest.mark.parametrize("name", sorted(SEAM))
def test_the_seam_knows_only_the_domain(name):
    assert ours(name) <= DOMAIN | SEAM
    assert theirs(name) == set()


@pytest.mark.parametrize("name", sorted(PATHS))
def test_paths_know_no_adapter(name):
    assert ours(name) <= DOMAIN | SEAM | PATHS
    assert theirs(name) == set()


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_adapters_know_no_path_and_not_each_other(name):
    assert ours(name) <= DOMAIN | SEAM | BESIDES.get(name, set())
    assert theirs(name) <= OUTSIDE.get(name, OUTSIDE.get(name.partition(".")[0], set()))


@pytest.mark.parametrize("name", sorted(DOMAIN | SEAM | PATHS))
def test_nothing_within_reaches_for_the_world(name):
    assert not set(imported(MODULES[name])) & THE_WORLD


@pytest.mark.parametrize("name", sorted(DOMAIN | SEAM | PATHS))
def test_nothing_within_looks_at_a_clock_or_draws_lots(name):
    tree = ast.parse(MODULES[name].read_text())
    asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not asked & {"now", "today", "utcnow", "uuid1", "uuid4", "environ"}


SOURCES = sorted([*MODULES.values(), *ROOT.glob("functions/*/handler.py")])


HELD_OFF = {MODULES[name] for name in parts_of("wdl")}
"""Where an engine of others reads strangers' text: a fault of it must not refuse a drop."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_catches_what_he_cannot_name(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ExceptHandler):
            continue
        assert node.type is not None, f"a bare except in line {node.lineno}"
        caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
        if caught & {"Exception", "BaseException"} and path not in HELD_OFF:
            last = node.body[-1]
            assert isinstance(last, ast.Raise), f"swallows everything in line {node.lineno}"
            assert last.exc is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_opens_with_a_sentence_on_what_it_knows(path):
    told = ast.get_docstring(ast.parse(path.read_text()))
    assert told
    assert told.split("\n\n")[0].rstrip().endswith(".")
