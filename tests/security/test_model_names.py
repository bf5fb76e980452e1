"""Models are named by id, and their files are in their folder, whatever somebody asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.test_models import install
from tests.conftest import Daemon, config_in
from tokenflowd.services import Services

HOSTILE = [
    *("..", "../../secret", "/etc/passwd", "mine/../mine", "./mine", "mine/", "mine\x00", "mine "),
    *("C:\\models\\mine", "..\\..\\secret", "file:///etc/passwd", "http://evil.example/m.onnx"),
    *("mine.onnx", "model.pkl", "mine;id", "$(id)", "-rf", ".mine", "~", "МINE", "a" * 200, "%2e"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    install(home, "mine")
    install(tmp_path, "secret")  # where `../../models/secret` leads
    return home


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    daemon = Daemon(Services(config_in(home)))
    yield daemon
    daemon.close()


def test_no_name_leads_out_of_the_models(daemon: Daemon, home: Path) -> None:
    for name in HOSTILE:
        used = daemon.post("/api/models/use", {"id": name})
        assert (used.status, used.json["error"]) == (422, "invalid field"), name
        for method in ("GET", "DELETE"):
            answer = daemon.request(method, f"/api/models/{quote(name, safe='')}")
            assert answer.status in (404, 405), (name, method, answer.body)
    assert (home / "models" / "mine" / "model.onnx").exists()
    assert (home.parent / "models" / "secret" / "model.onnx").exists()


def test_a_manifest_cannot_name_files_elsewhere(daemon: Daemon, home: Path) -> None:
    manifest = home / "models" / "mine" / "manifest.json"
    facts = json.loads(manifest.read_text())
    for name in ("../../../models/secret/model.onnx", "/etc/passwd", "..", "a/b", ""):
        manifest.write_text(json.dumps({**facts, "files": {name: facts["files"]["model.onnx"]}}))
        shown = daemon.get("/api/models/mine")
        assert shown.status == 503, shown.body
        assert "cannot be used" in shown.json["detail"]


def test_a_pickle_is_never_opened(daemon: Daemon, home: Path) -> None:
    """Neither beside the model nor in its place."""
    trace = home / "was here"
    pickle = b"cos\nsystem\n(S'touch \"%s\"'\ntR." % str(trace).encode()
    folder = home / "models" / "mine"
    for name in ("pytorch_model.bin", "model.pkl", "modeling.py", "config.json"):
        (folder / name).write_bytes(pickle)
    assert daemon.post("/api/models/use", {"id": "mine"}).status == 200
    (folder / "model.onnx").write_bytes(pickle)
    assert daemon.post("/api/models/use", {"id": "mine"}).status == 422
    assert not trace.exists()


def test_a_folder_that_is_a_link_is_not_removed_through(daemon: Daemon, home: Path) -> None:
    """What a link points to is not ours."""
    (home / "models" / "mine").rename(home / "elsewhere")
    (home / "models" / "mine").symlink_to(home / "elsewhere")
    daemon.request("DELETE", "/api/models/mine")
    assert (home / "elsewhere" / "model.onnx").exists()
