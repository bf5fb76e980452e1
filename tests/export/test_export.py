"""Checkpoints of five architectures become models that the daemon serves."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Daemon, config_in, text
from tokenflowd.catalog import Catalog
from tokenflowd.config import EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.errors import ExportError, ModelUnavailable
from tokenflowd.export import Report, export_model, find_checkpoint
from tokenflowd.export.apart import apart
from tokenflowd.services import Services

pytestmark = pytest.mark.export
for package in ("torch", "optimum", "transformers"):
    pytest.importorskip(package, reason="`pip install tokenflow[export]` brings it")

from tests.export import checkpoints  # noqa: E402 - needs torch

COMPRESSORS = ("bert", "xlm-roberta", "modernbert")
CLASSIFIERS = ("bart", "deberta-v3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each architecture."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: make(folder / name) for name, make in checkpoints.MAKERS.items()}


def exported(made: dict[str, Path], name: str, home: Path, **more: Any) -> Report:
    return exported_from(made[name], home, **more)


def exported_from(source: str | Path, home: Path, **more: Any) -> Report:
    return export_model(find_checkpoint(str(source)), home / "models", **more)


@pytest.mark.parametrize("name", [*COMPRESSORS, *CLASSIFIERS])
def test_an_export_says_what_the_checkpoint_says(
    made: dict[str, Path], name: str, tmp_path: Path
) -> None:
    report = exported(made, name, tmp_path)
    assert report.fp32.difference <= 1e-4
    assert report.fp32.decisions == 1
    assert report.agreement.decisions >= (0.97 if name in COMPRESSORS else 0.98)
    manifest = Catalog(tmp_path / "models").manifests()[-1]
    assert manifest.id == report.model_id == name
    assert manifest.quantisation == report.scheme
    assert manifest.figures["agreement"] == report.agreement.decisions
    assert list((tmp_path / "models").iterdir()) == [report.folder]


@pytest.mark.parametrize("name", [*COMPRESSORS, *CLASSIFIERS])
def test_an_export_is_served(made: dict[str, Path], name: str, tmp_path: Path) -> None:
    report = exported(made, name, tmp_path)
    daemon = Daemon(Services(config_in(tmp_path)))
    assert daemon.post("/api/models/use", {"id": report.model_id}).status == 200
    if name in COMPRESSORS:
        answer = daemon.post("/api/compress", {"text": text("meeting.txt"), "ratio": 0.5})
        assert answer.json["compressed_tokens"] <= 0.5 * answer.json["original_tokens"]
    else:
        answer = daemon.post("/api/classify", {"prompt": text("meeting.txt")})
        assert sum(answer.json["all_categories"].values()) == pytest.approx(1, abs=1e-4)
    assert (answer.status, answer.json["model"]) == (200, report.model_id)
    daemon.close()


@pytest.mark.parametrize("name", ["bert", "bart", "deberta-v3"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_precisions(made: dict[str, Path], name: str, precision: Any, tmp_path: Path) -> None:
    report = exported(made, name, tmp_path, precision=precision)
    assert report.model_id == f"{name}-{precision}"
    assert report.agreement.decisions >= 0.98
    assert (report.bytes_after < report.bytes_before) == (precision == "fp16")
    load_model(report.folder, EngineConfig()).close()


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_weights_that_one_file_cannot_hold_lie_beside_the_graph(
    made: dict[str, Path], precision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenflowd.export.graph.MAX_FILE_BYTES", 10_000)  # not 1.9 GB
    monkeypatch.setattr("tokenflowd.export.exporter.apart", lambda step, *a, **k: step(*a, **k))
    report = exported(made, "bert", tmp_path, precision=precision, model_id="large")
    data = report.folder / "model.onnx.data"
    assert report.bytes_after > data.stat().st_size > 0.5 * report.bytes_after
    load_model(report.folder, EngineConfig()).close()

    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"model\.onnx\.data is damaged"):
        load_model(report.folder, EngineConfig())


def test_a_step_that_the_system_kills_is_said() -> None:
    with pytest.raises(ExportError, match="for want of memory"):
        apart(signal.raise_signal, signal.SIGKILL)


def test_what_a_tool_raises_is_one_sentence() -> None:
    with pytest.raises(ExportError, match="ValueError: invalid literal"):
        apart(int, "seven")


def test_a_model_that_int8_would_change_keeps_more_in_fp32(tmp_path: Path) -> None:
    wild = checkpoints.bert(tmp_path / "wild")
    _scale_weights(wild, 12.0)
    report = exported_from(wild, tmp_path)
    assert report.scheme != "int8 throughout"
    assert report.agreement.decisions >= 0.97


def _scale_weights(folder: Path, factor: float) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    scaled = {
        name: value * factor if ".dense.weight" in name else value
        for name, value in weights.items()
    }
    save_file(scaled, folder / "model.safetensors", metadata={"format": "pt"})


def test_what_is_there_already_is_not_overwritten(made: dict[str, Path], tmp_path: Path) -> None:
    exported(made, "bert", tmp_path)
    with pytest.raises(ExportError, match="there is a model bert already"):
        exported(made, "bert", tmp_path)


@pytest.mark.parametrize("model_id", ["../outside", "a/b", " ", ".hidden", "tokenflow-compressor"])
def test_an_id_leads_nowhere_else(made: dict[str, Path], model_id: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="id"):
        exported(made, "bert", tmp_path, model_id=model_id)
    assert not list(tmp_path.glob("**/model.onnx"))


def test_an_export_that_ends_early_leaves_nothing(made: dict[str, Path], tmp_path: Path) -> None:
    def progress(step: str, done: int, of: int) -> None:
        if step.startswith("quantising"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(made, "bert", tmp_path, progress=progress)
    assert list((tmp_path / "models").iterdir()) == []


def test_what_a_killed_export_left_is_cleared(made: dict[str, Path], tmp_path: Path) -> None:
    left = tmp_path / "models" / ".bert-killed" / "result"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{}")
    assert not [m for m in Catalog(tmp_path / "models").manifests() if m.id.startswith(".")]
    report = exported(made, "bert", tmp_path)
    assert list((tmp_path / "models").iterdir()) == [report.folder]


def edited(folder: Path, copy: Path, **config: Any) -> Path:
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    settings = json.loads((copy / "config.json").read_text()) | config
    (copy / "config.json").write_text(json.dumps(settings))
    return copy


def test_only_safe_weights_are_loaded(made: dict[str, Path], tmp_path: Path) -> None:
    folder = edited(made["bert"], tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ExportError, match="pickled weights"):
        exported_from(folder, tmp_path)


def test_a_checkpoints_own_code_is_not_run(made: dict[str, Path], tmp_path: Path) -> None:
    folder = edited(made["bert"], tmp_path / "own", auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(ExportError, match="trust_remote_code"):
        exported_from(folder, tmp_path)


def test_a_model_of_another_kind_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    labels = {"0": "positive", "1": "neutral", "2": "negative"}
    folder = edited(made["bart"], tmp_path / "moods", id2label=labels)
    with pytest.raises(ExportError, match="the labels positive, neutral, negative"):
        exported_from(folder, tmp_path)


@pytest.mark.parametrize(
    ("source", "says"), [("/nowhere/at/all", "there is no folder"), ("not a name", "no OWNER/NAME")]
)
def test_a_source_that_is_none_is_refused(source: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=says):
        exported_from(source, tmp_path)


def test_without_a_hub_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ExportError, match="the hub cannot be reached"):
        exported_from("someone/something", tmp_path)
