from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_who_may_import_whom() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_every_installed_package_is_listed() -> None:
    """setuptools is told its packages by name: a forgotten one would be missing in the wheel."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(settings["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "tokenflowd").rglob("__init__.py")
    }
    tui = {
        ".".join(("tokenflow_tui", *path.parent.relative_to(ROOT / "tui").parts))
        for path in (ROOT / "tui").rglob("__init__.py")
    }
    assert listed == found | tui | {"tokenflowd.weights"}
