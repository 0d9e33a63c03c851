"""What the repository as a whole promises: schemas that hold, hashes everywhere, no place named."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.resources import files

import jsonschema
import pytest

from dropwell.notices import Kind
from tests.transformed import ROOT

SCHEMAS = sorted((ROOT / "layers/common/dropwell/schemas").glob("*.json"))
REQUIREMENTS = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("layers/*/requirements.txt")])


def tracked() -> list[str]:
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [name for name in told.stdout.decode().split("\0") if name]


class TestSchemas:
    @pytest.mark.parametrize("path", SCHEMAS, ids=lambda p: p.stem)
    def test_are_valid_themselves(self, path):
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"].endswith("2020-12/schema")

    @pytest.mark.parametrize("path", SCHEMAS, ids=lambda p: p.stem)
    def test_are_named_for_what_they_describe(self, path):
        schema = json.loads(path.read_text())
        assert schema["title"].lower().replace(" ", "-") == path.stem
        assert schema["$id"].endswith(path.name)

    def test_know_every_kind_of_notice(self):
        properties = [json.loads(path.read_text())["properties"] for path in SCHEMAS]
        told = {
            kind
            for event in properties
            if "metadata" in event
            for kind in event["metadata"]["properties"]["kind"]["enum"]
        }
        assert told >= set(Kind)

    def test_travel_with_the_package(self):
        packaged = {entry.name for entry in (files("dropwell") / "schemas").iterdir()}
        assert packaged == {path.name for path in SCHEMAS}


class TestRequirements:
    def test_are_all_compiled(self):
        assert {path.stem for path in REQUIREMENTS} >= {"requirements", "dev", "local", "runtime"}
        for source in [*ROOT.glob("requirements/*.in"), *ROOT.glob("layers/*/*.in")]:
            assert source.with_suffix(".txt") in REQUIREMENTS

    @pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda p: str(p.relative_to(ROOT)))
    def test_pin_every_package_with_hashes(self, path):
        entries = re.split(r"\n(?=\S)", path.read_text().strip())
        packages = [entry for entry in entries if not entry.startswith("#")]
        assert packages
        for entry in packages:
            assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry

    @pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda p: str(p.relative_to(ROOT)))
    def test_name_no_host(self, path):
        text = path.read_text()
        assert "://" not in text
        options = re.findall(r"^\s*(-\S*)", text, re.MULTILINE)
        assert all(option.startswith("--hash=") for option in options)


# Pieced together, so that this file does not name what none may name.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "deb" + ".debian.org"]
MACHINES = ["/work/" + "main", "/work/" + "shared", "/root/" + "."]


@pytest.mark.parametrize("place", [*REGISTRIES, *MACHINES])
def test_no_file_names_a_registry_or_a_machine(place):
    found = subprocess.run(
        ["git", "grep", "--files-with-matches", "--fixed-strings", "-I", "-e", place],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_what_is_made_is_not_kept():
    assert not [
        name for name in tracked() if re.search(r"__pycache__|\.pyc$|egg-info|\.DS_Store", name)
    ]


def test_samples_of_events_are_all_told_of():
    page = (ROOT / "events/README.md").read_text()
    told = set(re.findall(r"`(\w+\.json)`", page))
    assert told == {path.name for path in (ROOT / "events").glob("*.json")}
