"""POST /api/classify."""

from __future__ import annotations

from collections.abc import Sequence

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
            classification, recommended = await classify(
                self._services,
                self._offload,
                draft,
                wanted.prompt,
                wanted.possible_categories,
                multi_label=wanted.multi_label,
            )
            draft.model = classification.model_id
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


async def classify(
    services: Services,
    offload: Offload,
    draft: Draft,
    prompt: str,
    categories: Sequence[str],
    *,
    multi_label: bool = False,
) -> tuple[Classification, str]:
    """The classification and the model that suits it, which the draft knows from now on, too."""
    classifier = await offload.run(services.classifier.get)
    classification: Classification = await offload.run_stoppable(
        classifier.classify, prompt, categories, multi_label=multi_label
    )
    classification = await offload.run_stoppable(
        services.corrector.corrected, classification, prompt, multi_label=multi_label
    )
    recommended = services.rankings.recommended_model(
        classification.top_category, classification.confidence
    )
    draft.classification = ClassificationRecord(
        top_category=classification.top_category,
        confidence=classification.confidence,
        scores=classification.scores,
        multi_label=multi_label,
        recommended_model=recommended,
        corrected_by=classification.corrected_by,
    )
    return classification, recommended
