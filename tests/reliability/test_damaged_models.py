"""A model whose files are damaged takes its own service away, until they are whole again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.test_models import flip, install, truncate
from tests.conftest import Daemon, config_in
from tokenflowd.services import Services


def empty(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"")


def delete(folder: Path) -> None:
    (folder / "model.onnx").unlink()


@pytest.mark.parametrize("damage", [truncate, flip, empty, delete, shutil.rmtree])
def test_a_daemon_stays_up_without_a_damaged_model_and_takes_it_back(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    install(tmp_path, "mine")
    folder, whole = tmp_path / "models" / "mine", tmp_path / "whole"
    shutil.copytree(folder, whole)
    damage(folder)
    daemon = Daemon(Services(config_in(tmp_path, models={"compressor": "mine"})))
    refused = daemon.post("/api/compress", {"text": "Are these words kept?"})
    assert (refused.status, refused.json["error"]) == (503, "model unavailable")
    assert "mine" in refused.json["detail"]
    assert daemon.post("/api/classify", {"prompt": "Is this answered?"}).status == 200
    health = daemon.get("/healthz").json
    assert health["status"] == "degraded"
    assert "mine" in health["models"]["compressor"]["problem"]

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    answer = daemon.post("/api/compress", {"text": "Are these words kept?"})
    assert answer.json["model"] == "mine"
    assert daemon.get("/healthz").json["status"] == "ok"
    daemon.close()
