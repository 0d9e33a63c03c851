"""What the pages claim is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from dropwell_cli.main import app
from pictures.__main__ import TAKES

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
    named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row.split("|")[1])}
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


def commands(page):
    """Return the `dropwell` command lines of a page's code, without what stands for others."""
    blocks = re.findall(r"^```\w*\n(.*?)^```|^((?:    .*\n)+)", page.read_text(), re.M | re.S)
    lines = [line.strip() for block in blocks for line in "".join(block).splitlines()]
    spoken = re.findall(r"`(dropwell [a-z][^`]*)`", page.read_text().replace("\n", " "))
    found = [*[line.removeprefix(".venv/bin/") for line in lines], *spoken]
    return sorted({line for line in found if re.match(r"dropwell [a-z]", line)})


def understood(words, command, above=None):
    """Parse a command line as the program would, doing nothing."""
    context = command.make_context(words[0], list(words[1:]), parent=above)
    if hasattr(command, "commands"):
        _, sub, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        understood([sub.name, *rest], sub, context)


@pytest.mark.parametrize(
    ("page", "line"),
    [
        pytest.param(page, line, id=f"{page.relative_to(ROOT)}: {line}")
        for page in PAGES
        for line in commands(page)
    ],
)
def test_every_command_a_page_shows_is_understood(page, line):
    understood(shlex.split(line, comments=True), typer.main.get_command(app))


def test_a_command_that_is_not_there_would_be_missed():
    with pytest.raises(Exception, match="No such command"):
        understood(["dropwell", "local", "rum", "x"], typer.main.get_command(app))
    with pytest.raises(Exception, match="No such option"):
        understood(["dropwell", "show", "x", "--all"], typer.main.get_command(app))


def test_the_pictures_show_commands_of_the_page_on_local_runs():
    page = ROOT / "docs/local.md"
    pictured = set(re.findall(r"\]\(pictures/(\w+)\.svg\)", page.read_text()))
    assert pictured == {take.name for take in TAKES}
    for take in TAKES:
        assert f"![{take.command}: " in page.read_text()
        understood(shlex.split(take.command), typer.main.get_command(app))
