"""Finds models by id: those shipped with the package, then those in the user's directory."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tokenflowd.catalog.manifest import Manifest, Task, read_manifest
from tokenflowd.errors import ModelUnavailable

MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Catalog:
    """The models of this installation. A user's model never hides a shipped one."""

    def __init__(self, user_dir: Path) -> None:
        self._roots = (shipped_models_dir(), user_dir)

    def folder(self, model_id: str) -> Path:
        """The folder of `model_id`. Raises ModelUnavailable."""
        if not MODEL_ID.fullmatch(model_id):
            raise ModelUnavailable(f"{model_id!r} is not a model id")
        for root in self._roots:
            if (root / model_id / "manifest.json").is_file():
                return root / model_id
        known = ", ".join(manifest.id for manifest in self.manifests()) or "none"
        raise ModelUnavailable(f"no model `{model_id}` is installed; installed are: {known}")

    def manifest(self, model_id: str, *, task: Task) -> Manifest:
        """The manifest of `model_id`. Raises ModelUnavailable, also for another task's model."""
        manifest = read_manifest(self.folder(model_id))
        if manifest.task != task:
            raise ModelUnavailable(f"model {model_id} is for {manifest.task}, not for {task}")
        return manifest

    def manifests(self) -> list[Manifest]:
        """All readable manifests, shipped ones first, then by id."""
        found: dict[str, Manifest] = {}
        for root in self._roots:
            for path in sorted(root.glob("*/manifest.json")):
                try:
                    manifest = read_manifest(path.parent)
                except ModelUnavailable:
                    continue
                found.setdefault(manifest.id, manifest)
        return list(found.values())


def is_shipped(folder: Path) -> bool:
    """Whether the model in `folder` is part of the program, and not the user's to remove."""
    return folder.parent == shipped_models_dir()


def shipped_models_dir() -> Path:
    spec = importlib.util.find_spec("tokenflowd.weights")
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable("the shipped models are not part of this installation")
    return Path(spec.submodule_search_locations[0])
