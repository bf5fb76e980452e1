from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tokenflowd.catalog import Catalog
from tokenflowd.catalog.manifest import read_manifest, verified
from tokenflowd.config import EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.errors import ModelUnavailable

SHIPPED = Catalog(Path("/nowhere"))


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A copy of a shipped model in the user's directory, under an id of its own."""
    folder = tmp_path / "my-compressor"
    shutil.copytree(SHIPPED.folder("tokenflow-compressor"), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "id": "my-compressor"}))
    return folder


@pytest.mark.parametrize(
    ("model_id", "task"),
    [
        ("tokenflow-compressor", "token-classification"),
        ("tokenflow-classifier", "zero-shot-classification"),
        ("tokenflow-embedder", "sentence-embedding"),
    ],
)
def test_the_shipped_models_are_whole_and_say_what_they_are(model_id: str, task: str) -> None:
    manifest = SHIPPED.manifest(model_id, task=task)  # type: ignore[arg-type]
    folder = SHIPPED.folder(model_id)
    for name in manifest.files:
        verified(folder, name, manifest)
    assert manifest.licence == "Apache-2.0"
    assert all(dataset.licence and dataset.repository for dataset in manifest.datasets)
    assert manifest.figures
    card = (folder / "README.md").read_text()
    assert all(dataset.repository in card for dataset in manifest.datasets)
    assert all((folder / name).stat().st_size < 60 * 2**20 for name in manifest.files)


def test_a_model_in_the_users_directory_is_found(own_model: Path) -> None:
    catalog = Catalog(own_model.parent)
    assert catalog.folder("my-compressor") == own_model
    assert "my-compressor" in [manifest.id for manifest in catalog.manifests()]


def test_a_users_model_does_not_hide_a_shipped_one(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED.folder("tokenflow-compressor"), tmp_path / "tokenflow-compressor")
    assert Catalog(tmp_path).folder("tokenflow-compressor").parent != tmp_path


@pytest.mark.parametrize("model_id", ["../../etc", "/etc/passwd", "a/b", "", ".hidden", "a" * 200])
def test_a_model_is_an_id_never_a_path(model_id: str) -> None:
    with pytest.raises(ModelUnavailable, match="not a model id"):
        SHIPPED.folder(model_id)


def test_an_unknown_id_names_the_known_ones() -> None:
    with pytest.raises(ModelUnavailable, match="tokenflow-compressor"):
        SHIPPED.folder("no-such-model")


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="is for token-classification, not for"):
        SHIPPED.manifest("tokenflow-compressor", task="zero-shot-classification")


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_refused_before_it_is_loaded(
    own_model: Path, name: str, damage: str
) -> None:
    path = own_model / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else b"")
    with pytest.raises(ModelUnavailable, match=name):
        load_model(own_model, EngineConfig())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_damaged_manifest_is_refused(own_model: Path, content: str) -> None:
    (own_model / "manifest.json").write_text(content)
    with pytest.raises(ModelUnavailable, match="cannot be used"):
        read_manifest(own_model)


def test_a_renamed_folder_is_refused(own_model: Path) -> None:
    renamed = own_model.rename(own_model.parent / "other")
    with pytest.raises(ModelUnavailable, match="is about `my-compressor`, not `other`"):
        read_manifest(renamed)


def test_a_tokenizer_that_cannot_be_read_is_refused(own_model: Path) -> None:
    (own_model / "tokenizer.json").write_text("{}")
    manifest = json.loads((own_model / "manifest.json").read_text())
    manifest["files"]["tokenizer.json"]["sha256"] = hashlib.sha256(b"{}").hexdigest()
    (own_model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        load_model(own_model, EngineConfig())
