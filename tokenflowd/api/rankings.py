"""GET /api/model-rankings."""

from __future__ import annotations

from aiohttp import web

from tokenflowd.api.guards import json_response
from tokenflowd.api.schemas import RankedModelOut, RankingOut
from tokenflowd.route import Rankings


class RankingsResource:
    def __init__(self, rankings: Rankings) -> None:
        self._rankings = rankings

    async def get(self, request: web.Request) -> web.Response:
        return json_response(
            {
                category: RankingOut(
                    title=ranking.title,
                    description=ranking.description,
                    models=[
                        RankedModelOut(
                            id=model.id,
                            name=model.name,
                            primary=rank == 0,
                            provider=model.provider,
                            configured=self._rankings.is_configured(model.provider),
                        )
                        for rank, model in enumerate(ranking.models)
                    ],
                )
                for category, ranking in self._rankings.by_category.items()
            }
        )
