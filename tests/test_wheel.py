"""The wheel, installed outside the checkout, is all a user needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import NO_KEYRING

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: a build leaves a folder behind whose old files would go into the next wheel.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("tokenflowd", "tui", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_has_the_models_and_no_stray_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for model in ("compressor", "multilingual", "classifier", "embedder"):
        for file in ("model.onnx", "tokenizer.json", "manifest.json", "README.md"):
            assert f"tokenflowd/weights/tokenflow-{model}/{file}" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "tokenflowd",
        "tokenflow_tui",
    }


def test_an_empty_environment_elsewhere_compresses_and_classifies(
    wheel: Path, tmp_path: Path
) -> None:
    """The dependencies are lent from this environment by path, so that no network is needed;
    the package itself comes from the wheel alone."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python3*")) / "site-packages"
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    subprocess.run(
        [python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", str(wheel)],
        check=True,
        cwd=tmp_path,
    )
    environment = {
        "PATH": os.environ["PATH"],
        "TOKENFLOW_HOME": str(tmp_path / "home"),
        **NO_KEYRING,
    }

    def tokenflow(*arguments: str) -> str:
        return subprocess.run(
            [str(home / "bin" / "tokenflow"), *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            input="Well, I think that the disk of db-2 is really not large enough for it.",
        ).stdout

    where = subprocess.run(
        [python, "-c", "import tokenflowd; print(tokenflowd.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert str(site) in where
    assert "disk" in tokenflow("compress", "--ratio", "0.5")
    scores = json.loads(tokenflow("classify", "A goal!", "-c", "sports", "-c", "law", "--json"))
    assert scores["top_category"] == "sports"
    assert "verified" in tokenflow("doctor")
