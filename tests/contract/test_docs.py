"""What the pages claim is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GOLDEN = ROOT / "tests/unit/golden/notices"


class _AnyTag(yaml.SafeLoader):
    """Reads a template without understanding its functions."""


_AnyTag.add_multi_constructor("!", lambda loader, suffix, node: None)


@pytest.mark.parametrize("notice", ["ended-failed", "rejected"])
def test_the_readme_shows_notices_as_they_are_sent(notice):
    assert (GOLDEN / f"{notice}.standard.txt").read_text().rstrip() in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    inside = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [t for t in inside if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


def test_the_operator_reads_of_every_parameter_and_its_default():
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader=_AnyTag)
    page = (ROOT / "docs/operations.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([A-Z][A-Za-z]+)`", row.split("|")[1])}
    assert set(template["Parameters"]) <= named


def test_the_operator_reads_of_every_setting():
    page = (ROOT / "docs/operations.md").read_text()
    settings = (ROOT / "layers/common/dropwell/settings.py").read_text()
    fields = set(re.findall(r"^    ([a-z_]+): ", settings, re.MULTILINE))
    assert {field.upper() for field in fields} <= set(re.findall(r"`([A-Z_]+)`", page))


def test_the_vocabulary_names_every_state():
    from dropwell.runs import State

    page = (ROOT / "docs/vocabulary.md").read_text()
    assert [state for state in State if state not in page] == []


def test_every_test_that_a_promise_names_exists():
    named = re.findall(r"`([\w/.]+\.py)::([\w:]+)`", (ROOT / "docs/promises.md").read_text())
    assert named
    missing = []
    for file, path in named:
        [found] = (ROOT / "tests").rglob(file)
        *classes, function = path.split("::")
        text = found.read_text()
        kept = all(f"class {name}" in text for name in classes) and f"def {function}(" in text
        missing += [] if kept else [f"{file}::{path}"]
    assert missing == []


def test_every_promise_is_held_by_a_test():
    rows = re.findall(r"^\| (?!promise|---)(.*)$", (ROOT / "docs/promises.md").read_text(), re.M)
    assert [row for row in rows if ".py::" not in row] == []
