"""GET /healthz and the small page at GET /."""

from __future__ import annotations

import html
import time
from typing import Any

from aiohttp import web
from msgspec import UNSET

from tokenflowd import __version__
from tokenflowd.api.guards import json_response
from tokenflowd.api.schemas import Health, ModelState
from tokenflowd.api.streams import Streams
from tokenflowd.services import OnDemand, Services

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>TokenFlow</title>
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}}
code{{background:#8882;padding:.1em .3em;border-radius:.2em}}</style>
<h1>TokenFlow {version}</h1>
<p>This daemon compresses prompts, classifies them, has them answered by the model that suits them
and keeps a history on this machine. It is <strong>{status}</strong>.</p>
<ul>{models}</ul>
<p><a href="/healthz">health</a> · <a href="/api/openapi.json">API</a> ·
<a href="/api/history">history</a> · <a href="/api/model-rankings">model rankings</a> ·
<a href="/api/providers">providers</a> · <a href="/api/metrics">metrics</a></p>
<p>In a terminal: <code>tokenflow ask</code>, <code>tokenflow compress FILE</code>,
<code>tokenflow history</code>, <code>tokenflow doctor</code>. Any OpenAI client:
<code>/v1</code>, model <code>auto</code>.</p>
</html>"""


class HealthResource:
    def __init__(self, services: Services, streams: Streams) -> None:
        self._services = services
        self._streams = streams
        self._started = time.monotonic()

    async def get(self, request: web.Request) -> web.Response:
        return json_response(self.health())

    async def page(self, request: web.Request) -> web.Response:
        health = self.health()
        models = "".join(
            f"<li>{html.escape(role)}: {html.escape(state.id)}, "
            f"{'ready' if state.ready else state.problem or 'not loaded yet'}</li>"
            for role, state in health.models.items()
        )
        return web.Response(
            text=_PAGE.format(version=__version__, status=health.status, models=models),
            content_type="text/html",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    def health(self) -> Health:
        """Degraded: the daemon answers, but a model or the history is not available."""
        models = {
            "compressor": _state(self._services.compressor),
            "classifier": _state(self._services.classifier),
        }
        problem = self._services.store.problem
        # A model that is only not loaded yet is no problem.
        well = problem is None and all(model.problem is UNSET for model in models.values())
        return Health(
            status="ok" if well else "degraded",
            version=__version__,
            uptime_s=round(time.monotonic() - self._started, 3),
            models=models,
            streams=len(self._streams),
            history="ok" if problem is None else "degraded",
            problem=UNSET if problem is None else problem,
        )


def _state(service: OnDemand[Any]) -> ModelState:
    problem = service.problem
    return ModelState(service.model_id, service.is_ready, UNSET if problem is None else problem)
