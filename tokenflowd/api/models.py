"""GET /api/models, GET and DELETE /api/models/{id}, POST /api/models/use."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from tokenflowd.api.bodies import read_json
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import InstalledModel, UsedModel, UseModelRequest
from tokenflowd.catalog import Manifest, is_shipped
from tokenflowd.catalog.manifest import read_manifest, verified
from tokenflowd.config import ENVIRONMENT, write_setting
from tokenflowd.errors import Forbidden, InvalidField, ModelUnavailable, NotFound
from tokenflowd.services import ROLES, ModelRole, Services


class ModelsResource:
    def __init__(self, services: Services, offload: Offload) -> None:
        self._services = services
        self._offload = offload
        self._changing = asyncio.Lock()  # one at a time: a removal must see what a switch did

    async def list(self, request: web.Request) -> web.Response:
        manifests = await self._offload.run(self._services.catalog.manifests)
        return json_response([self._installed(manifest) for manifest in manifests])

    async def get(self, request: web.Request) -> web.Response:
        """Everything the manifest says, after all files were compared with it."""
        facts = await self._offload.run(self._verified_facts, request.match_info["id"])
        return json_response(facts)

    async def use(self, request: web.Request) -> web.Response:
        """Loads the model beside the one in use; only if that went well it takes its place."""
        wanted = await read_json(request, UseModelRequest, self._services.config.server)
        async with self._changing:
            role = await self._offload.run(self._use, wanted.id)
        variable = _variable(role)
        overruled = variable in self._services.config.environment
        return json_response(UsedModel(wanted.id, role, variable if overruled else UNSET))

    async def remove(self, request: web.Request) -> web.Response:
        async with self._changing:
            await self._offload.run(self._remove, request.match_info["id"])
        return web.Response(status=204)

    def _installed(self, manifest: Manifest) -> InstalledModel:
        services = self._services.by_role.items()
        used_as = next((role for role, used in services if used.model_id == manifest.id), None)
        return InstalledModel(
            id=manifest.id,
            name=manifest.name,
            version=manifest.version,
            task=manifest.task,
            role=used_as or ROLES[manifest.task],
            active=used_as is not None,
            shipped=is_shipped(self._services.catalog.folder(manifest.id)),
            bytes=sum(file.bytes for file in manifest.files.values()),
            licence=manifest.licence,
        )

    def _verified_facts(self, model_id: str) -> dict[str, Any]:
        folder = self._folder(model_id)
        manifest = read_manifest(folder)
        for name in manifest.files:
            verified(folder, name, manifest)
        return {**msgspec.to_builtins(manifest), **msgspec.to_builtins(self._installed(manifest))}

    def _use(self, model_id: str) -> ModelRole:
        try:
            folder = self._services.catalog.folder(model_id)
            role = ROLES[read_manifest(folder).task]
            self._services.by_role[role].use(model_id)
        except ModelUnavailable as error:
            raise InvalidField(f"{error.detail}; the model in use stays") from None
        write_setting(self._services.config.file, "models", role, model_id)
        return role

    def _remove(self, model_id: str) -> None:
        folder = self._folder(model_id)
        if is_shipped(folder):
            raise Forbidden(f"{model_id} is part of TokenFlow and stays")
        for role, service in self._services.by_role.items():
            if service.model_id == model_id:
                raise Forbidden(
                    f"{model_id} is the {role} in use; `tokenflow models use` another first"
                )
        # Out of the catalog at once, even if removing the files is interrupted.
        (folder / "manifest.json").unlink()
        shutil.rmtree(folder)

    def _folder(self, model_id: str) -> Path:
        try:
            return self._services.catalog.folder(model_id)
        except ModelUnavailable as error:
            raise NotFound(error.detail) from None


def _variable(role: ModelRole) -> str:
    return next((name for name, place in ENVIRONMENT.items() if place == ("models", role)), "")
