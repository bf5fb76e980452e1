"""POST /api/classify."""

from __future__ import annotations

from aiohttp import web

from tokenflowd.api.bodies import read_json
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import ClassifyRequest, ClassifyResponse
from tokenflowd.classify import Classification
from tokenflowd.services import Services
from tokenflowd.store import ClassificationRecord


class ClassifyResource:
    def __init__(self, services: Services, offload: Offload, recorder: Recorder) -> None:
        self._services = services
        self._offload = offload
        self._recorder = recorder

    async def post(self, request: web.Request) -> web.Response:
        async def work(draft: Draft) -> ClassifyResponse:
            wanted = await read_json(request, ClassifyRequest, self._services.config.server)
            draft.input = wanted.prompt
            classifier = await self._offload.run(self._services.classifier.get)
            classification = await self._offload.run_stoppable(
                classifier.classify,
                wanted.prompt,
                wanted.possible_categories,
                multi_label=wanted.multi_label,
            )
            draft.model = classification.model_id
            recommended = self._services.rankings.recommended_model(
                classification.top_category, classification.confidence
            )
            draft.classification = record_of(classification, wanted.multi_label, recommended)
            return ClassifyResponse(
                id=draft.id,
                top_category=classification.top_category,
                confidence_score=classification.confidence,
                all_categories=classification.scores,
                recommended_model=recommended,
                model=classification.model_id,
                latency_ms=round(draft.elapsed_ms, 3),
            )

        return json_response(await self._recorder.record("classify", request, work))


def record_of(
    classification: Classification, multi_label: bool, recommended_model: str
) -> ClassificationRecord:
    """The history's row."""
    return ClassificationRecord(
        top_category=classification.top_category,
        confidence=classification.confidence,
        scores=classification.scores,
        multi_label=multi_label,
        recommended_model=recommended_model,
    )
