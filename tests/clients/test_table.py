"""docs/clients.md says what was seen with the versions that are installed for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = (FOLDER.parent.parent / "docs" / "clients.md").read_text("utf-8")
NOT_CLIENTS = {"esbuild", "playwright-core", "zod"}


def test_the_table_has_the_versions_that_are_installed() -> None:
    pins = {
        name: version
        for path in FOLDER.glob("requirements*.txt")
        for name, version in re.findall(r"^(\S+)==(\S+)$", path.read_text(), re.MULTILINE)
    }
    packages = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    versions = [*pins.items(), *packages.items()]
    missing = [
        f"{name} {version}"
        for name, version in versions
        if name not in NOT_CLIENTS and not re.search(rf"\b{re.escape(version)}\b", TABLE)
    ]
    assert versions
    assert missing == []


def test_the_table_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(tests/clients/\w+\.py)`", TABLE))
    programs = set(re.findall(r"`tests/clients/test_libraries.py`, `(\w+\.m?\w+)`", TABLE))
    assert named == {
        f"tests/clients/{path.name}" for path in FOLDER.glob("test_*.py") if path != Path(__file__)
    }
    assert programs == {
        path.name for path in (FOLDER / "programs").iterdir() if path.name != "open_webui.mjs"
    }
