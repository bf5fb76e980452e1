"""The download, against a hub of our own that serves the same addresses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.export
pytest.importorskip("torch", reason="`pip install tokenflow[export]` brings it")

from tests.export import checkpoints  # noqa: E402 - needs torch

BIN = Path(sys.executable).parent
REPOSITORY = "someone/tiny-lingua"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNWANTED = ("pytorch_model.bin", "modeling_evil.py")


class Hub:
    """What huggingface_hub asks of huggingface.co: a repository's files, then each of them."""

    def __init__(self, folder: Path) -> None:
        self.served: list[str] = []
        self.breaks_off_once = ""  # a file whose first download ends in the middle
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(body=True)

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def _answer(self, *, body: bool) -> None:
                if self.path.startswith(f"/api/models/{REPOSITORY}"):
                    files = sorted(path.name for path in folder.iterdir())
                    siblings = [{"rfilename": name} for name in files]
                    listed = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}
                    self._send(json.dumps(listed).encode(), "application/json", body)
                    return
                name = self.path.rpartition("/")[2]
                if not (folder / name).is_file() or "/resolve/" not in self.path:
                    self.send_error(404)
                    return
                content = (folder / name).read_bytes()
                if body:
                    hub.served.append(name)
                self._send(content, "application/octet-stream", body, name)

            def _send(self, content: bytes, kind: str, body: bool, name: str = "") -> None:
                first = 0
                if ranged := self.headers.get("Range"):
                    first = int(ranged.removeprefix("bytes=").partition("-")[0])
                self.send_response(206 if first else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content) - first))
                self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')  # noqa: S324
                self.send_header("X-Repo-Commit", COMMIT)
                if first:
                    total = len(content)
                    self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
                self.end_headers()
                if not body:
                    return
                if name and name == hub.breaks_off_once:
                    hub.breaks_off_once = ""
                    self.wfile.write(content[: len(content) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(content[first:])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = checkpoints.bert(tmp_path_factory.mktemp("hub") / "files")
    for name in UNWANTED:
        (folder / name).write_text("not to be downloaded")
    return folder


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    hub = Hub(checkpoint)
    yield hub
    hub.close()


def export(hub: Hub, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": os.environ["PATH"],
        "TOKENFLOW_HOME": str(home / "tokenflow"),
        "HF_HOME": str(home / "hub"),
        "HF_ENDPOINT": hub.url,
        **environment,
    }
    return subprocess.run(
        [str(BIN / "tokenflow"), "models", "export", REPOSITORY],
        capture_output=True,
        text=True,
        env=variables,
    )


def test_a_repository_is_downloaded_and_exported(hub: Hub, tmp_path: Path) -> None:
    done = export(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decisions are those of PyTorch" in done.stdout
    assert "Traceback" not in done.stderr
    model = tmp_path / "tokenflow" / "models" / "tiny-lingua"
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["source"].startswith(f"{REPOSITORY}, exported by TokenFlow")
    assert not set(UNWANTED) & set(hub.served)


def test_what_was_downloaded_needs_no_hub_any_more(hub: Hub, tmp_path: Path) -> None:
    assert export(hub, tmp_path).returncode == 0
    models = tmp_path / "tokenflow" / "models"
    (models / "tiny-lingua").rename(tmp_path / "aside")
    asked = len(hub.served)
    assert export(hub, tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.served) == asked


def test_a_download_that_broke_off_is_carried_on(hub: Hub, tmp_path: Path) -> None:
    hub.breaks_off_once = "model.safetensors"
    broken = export(hub, tmp_path)
    assert broken.returncode == 1
    assert "keeps what is there and goes on" in broken.stderr
    assert "Traceback" not in broken.stderr
    done = export(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert hub.served.count("model.safetensors") == 2
    assert hub.served.count("tokenizer.json") == 1


def test_a_repository_that_is_not_there_is_said(hub: Hub, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "tokenflow"), "models", "export", "nobody/nothing"],
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "TOKENFLOW_HOME": str(tmp_path),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_ENDPOINT": hub.url,
        },
    )
    assert done.returncode == 1
    assert "nobody/nothing" in done.stderr
    assert "Traceback" not in done.stderr
