"""requirements.lock, from which CI installs, fits pyproject.toml and holds hashes only."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
LOCKED = [line for line in LINES if line.strip() and not line.lstrip().startswith("#")]
ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})+)\s*")


def test_every_line_is_a_release_with_hashes() -> None:
    """No index, no folder, no option: nothing of the machine that it was made on."""
    assert LOCKED
    assert [line for line in LOCKED if not ENTRY.fullmatch(line)] == []


def test_what_the_project_and_its_tests_need_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = dict(match.group(1, 2) for line in LOCKED if (match := ENTRY.fullmatch(line)))
    for line in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(line)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{line}: run `make lock`"
