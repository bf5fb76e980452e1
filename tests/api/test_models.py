"""Models are switched without a restart, and one that cannot be used changes nothing."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Daemon, config_in, eventually, text
from tokenflowd.catalog import Catalog
from tokenflowd.config import load_config
from tokenflowd.services import Services

MEETING = text("meeting.txt")
SHIPPED = Catalog(Path("/nowhere"))


def install(home: Path, model_id: str, of: str = "tokenflow-compressor", **facts: Any) -> Path:
    """A copy of a shipped model in the user's directory, under an id of its own."""
    folder = home / "models" / model_id
    shutil.copytree(SHIPPED.folder(of), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "id": model_id, **facts}))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    install(tmp_path, "mine")
    (tmp_path / "config.toml").write_text('# my settings\n[models]\n# compressor = "x"\n')
    return tmp_path


@pytest.fixture
def switchable(home: Path) -> Iterator[Daemon]:
    daemon = Daemon(Services(config_in(home)))
    yield daemon
    daemon.close()


def use(daemon: Daemon, model_id: str) -> Any:
    return daemon.post("/api/models/use", {"id": model_id})


def compressor_of(daemon: Daemon) -> str:
    answer = daemon.post("/api/compress", {"text": MEETING})
    assert answer.status == 200
    return str(answer.json["model"])


def test_the_models_are_listed_with_their_roles(switchable: Daemon) -> None:
    listed = {model["id"]: model for model in switchable.get("/api/models").json}
    assert [listed[name]["role"] for name in ("mine", "tokenflow-classifier")] == [
        "compressor",
        "classifier",
    ]
    assert listed["tokenflow-compressor"]["active"]
    assert not listed["mine"]["active"]
    assert listed["tokenflow-compressor"]["shipped"]
    assert not listed["mine"]["shipped"]


def test_a_switch_is_for_now_and_for_the_next_start(switchable: Daemon, home: Path) -> None:
    assert compressor_of(switchable) == "tokenflow-compressor"
    assert use(switchable, "mine").json == {"id": "mine", "role": "compressor"}
    assert compressor_of(switchable) == "mine"
    assert switchable.get("/healthz").json["models"]["compressor"]["id"] == "mine"
    assert load_config(home=home, environment={}).models.compressor == "mine"
    assert (home / "config.toml").read_text().startswith("# my settings\n[models]\n# compressor")


def test_a_variable_that_overrules_the_switch_is_named(home: Path) -> None:
    environment = {"TOKENFLOW_COMPRESSOR": "tokenflow-compressor"}
    daemon = Daemon(Services(config_in(home, environment=environment)))
    assert use(daemon, "mine").json["overruled_by"] == "TOKENFLOW_COMPRESSOR"
    daemon.close()


def test_no_request_fails_while_models_are_switched(switchable: Daemon) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def ask_on(number: int) -> None:
        while not stop.is_set():
            body = {"text": f"{number} {len(statuses)} {MEETING}"}
            statuses.append(switchable.post("/api/compress", body).status)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_on, number) for number in range(8)]
        for model_id in itertools.cycle(("mine", "tokenflow-compressor")):
            assert use(switchable, model_id).status == 200
            if len(statuses) > 40:
                break
        stop.set()
    assert [future.exception() for future in asking] == [None] * 8
    assert set(statuses) == {200}


def test_a_model_that_was_replaced_goes(switchable: Daemon) -> None:
    def engines() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("engine-")]

    before = len(engines())
    compressor_of(switchable)
    for model_id in ("mine", "tokenflow-compressor", "mine"):
        use(switchable, model_id)
    assert eventually(lambda: len(engines()) == before + 1)


def truncate(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])


def flip(folder: Path) -> None:
    file = folder / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rename(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "id": "other"}))


def lose_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def garble_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "model.onnx is damaged"),
        (flip, "model.onnx is damaged"),
        (rename, "is about `other`"),
        (lose_tokenizer, "tokenizer.json"),
        (garble_manifest, "cannot be used"),
        (shutil.rmtree, "no model `mine` is installed"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_and_the_other_stays(
    switchable: Daemon, home: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(home / "models" / "mine")
    refused = use(switchable, "mine")
    assert refused.status == 422
    assert says in refused.json["detail"]
    assert refused.json["detail"].endswith("the model in use stays")
    assert compressor_of(switchable) == "tokenflow-compressor"
    assert load_config(home=home, environment={}).models.compressor == "tokenflow-compressor"


def test_a_model_takes_the_role_of_its_task(switchable: Daemon, home: Path) -> None:
    install(home, "sorter", of="tokenflow-classifier")
    assert use(switchable, "sorter").json["role"] == "classifier"
    answer = switchable.post("/api/classify", {"prompt": "Why?"})
    assert answer.json["model"] == "sorter"


@pytest.mark.parametrize(
    ("of", "task"),
    [
        ("tokenflow-classifier", "token-classification"),
        ("tokenflow-compressor", "zero-shot-classification"),
        ("tokenflow-compressor", "sentence-embedding"),
    ],
)
def test_a_graph_of_another_task_is_refused(
    switchable: Daemon, home: Path, of: str, task: str
) -> None:
    install(home, "liar", of=of, task=task)
    refused = use(switchable, "liar")
    assert refused.status == 422
    assert f"its graph is not for {task}" in refused.json["detail"]
    assert compressor_of(switchable) == "tokenflow-compressor"


def test_a_model_is_shown_after_it_was_verified(switchable: Daemon, home: Path) -> None:
    shown = switchable.get("/api/models/mine")
    assert shown.json["files"]["model.onnx"]["sha256"]
    assert shown.json["role"] == "compressor"
    flip(home / "models" / "mine")
    assert "is damaged" in switchable.get("/api/models/mine").json["detail"]
    assert switchable.get("/api/models/nope").status == 404


def test_a_model_is_removed_unless_it_is_in_use_or_shipped(switchable: Daemon, home: Path) -> None:
    def remove(model_id: str) -> Any:
        return switchable.request("DELETE", f"/api/models/{model_id}")

    use(switchable, "mine")
    assert "in use" in remove("mine").json["detail"]
    use(switchable, "tokenflow-compressor")
    assert remove("mine").status == 204
    assert not (home / "models" / "mine").exists()
    assert remove("mine").status == 404
    assert "part of TokenFlow" in remove("tokenflow-compressor").json["detail"]
    assert remove("..%2f..").status == 404
