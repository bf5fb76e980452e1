"""From a category or a model's name to the candidates that may answer, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tokenflowd.classify import Classification
from tokenflowd.config import RouteConfig
from tokenflowd.errors import BadRequest, InvalidField, ModelNotFound, ProviderError
from tokenflowd.generate import Candidate, Providers
from tokenflowd.route.needs import Needs
from tokenflowd.route.rankings import Rankings


@dataclass(frozen=True, slots=True)
class Route:
    """`wanted` is the model's id that was asked for or ranks first; `candidates` are those that
    can be asked, a stand-in last. `reason` says to people why, `problem` why there are none."""

    wanted: str
    reason: str
    candidates: tuple[Candidate, ...]
    problem: ProviderError | None = None


class Router:
    """Knows settings only; `local`, what servers of this machine have, is told by the caller."""

    def __init__(self, settings: RouteConfig, rankings: Rankings, providers: Providers) -> None:
        self._settings = settings
        self._rankings = rankings
        self._providers = providers

    def for_category(
        self,
        classification: Classification,
        local: Sequence[Candidate],
        needs: Needs,
    ) -> Route:
        """The models of the category's ranking; the fallback model where it cannot be trusted.
        Of these, the ones that meet `needs`; if there are none, any other that does.

        Raises BadRequest when no model that can be asked is known to meet them.
        """
        return self._meeting(needs, self._for_category(classification, local), local)

    def _for_category(self, classification: Classification, local: Sequence[Candidate]) -> Route:
        category, confidence = classification.top_category, classification.confidence
        found = f"category {category}, {confidence:.2f}"
        ranking = self._rankings.trusted(category, confidence)
        if ranking is None:
            known = category in self._rankings.by_category
            why = f"below {self._settings.min_confidence:.2f}" if known else "not ranked"
            return self.for_model(self._settings.fallback_model, local, f"{found}: {why}")
        ranked = [Candidate(self._providers[model.provider], model.id) for model in ranking.models]
        return self._route(ranking.models[0].id, found, ranked, local)

    def for_model(
        self, model: str, local: Sequence[Candidate], reason: str = "model named"
    ) -> Route:
        """Who serves `model`. `provider/model` names the provider, too.

        Raises ModelNotFound when nobody is known to serve it.
        """
        known = self._serving(model, local)
        return self._route(model, reason, known, local) if known else self._elsewhere(model, reason)

    def for_embeddings(self, model: str, local: Sequence[Candidate]) -> Route:
        """Who serves `model`; nobody stands in, as vectors of two models cannot be compared.

        Raises ModelNotFound when nobody is known to serve it.
        """
        reason = "model named"
        known = self._serving(model, local)
        return self._route(model, reason, known, ()) if known else self._elsewhere(model, reason)

    def _serving(self, model: str, local: Sequence[Candidate]) -> list[Candidate]:
        """Those that are known to serve it."""
        known = self._rankings.ranked_at(model) or [
            Candidate(provider, model)
            for provider in self._providers.values()
            if provider.knows(model)
        ]
        return known + [candidate for candidate in local if candidate.model == model]

    def _elsewhere(self, model: str, reason: str) -> Route:
        """Who may serve a model that nobody is known to serve. Raises ModelNotFound."""
        name, _, rest = model.partition("/")
        if rest and name in self._providers:
            return self.at_provider(name, rest)
        # A provider with a key may serve more than we know.
        strangers = [
            Candidate(provider, model)
            for provider in self._providers.values()
            if provider.key and not provider.obstacle
        ][:1]
        if not strangers:
            raise ModelNotFound(
                f"no provider here serves {model!r}; GET /v1/models lists the models that are here"
            )
        return self._route(model, reason, strangers, ())

    def at_provider(self, name: str, model: str) -> Route:
        """That model at that provider, and nothing else. Raises InvalidField."""
        if name not in self._providers:
            raise InvalidField(
                f"there is no provider {name!r}; there are {', '.join(self._providers)}"
            )
        candidate = Candidate(self._providers[name], model)
        reason = "model and provider named"
        if obstacle := obstacle_to(candidate):
            return Route(model, reason, (), ProviderError("unavailable", f"{name}: {obstacle}"))
        return self._route(model, reason, [candidate], ())

    def _route(
        self,
        wanted: str,
        reason: str,
        candidates: Sequence[Candidate],
        local: Sequence[Candidate],
    ) -> Route:
        usable = [
            Candidate(candidate.provider, candidate.provider.served_as(candidate.model))
            for candidate in candidates
            if not obstacle_to(candidate)
        ]
        if stand_in := self._stand_in(local):
            usable.append(stand_in)
        each_once = tuple(dict.fromkeys(usable))
        problem = None if each_once else self._nobody(wanted, candidates)
        return Route(wanted, reason, each_once, problem)

    def _meeting(self, needs: Needs, route: Route, local: Sequence[Candidate]) -> Route:
        if not route.candidates:
            return route
        able = tuple(filter(needs.are_met_by, route.candidates))
        if able:
            return replace(route, candidates=able)
        others = list(dict.fromkeys(self._others(local)))
        able = tuple(filter(needs.are_met_by, others))
        if not able:
            unmet = needs.unmet_by([*route.candidates, *others])
            raise BadRequest(
                f"the request {unmet}, and no model that can be asked is known to take that: name "
                "a model instead of auto, or say in the config what one takes "
                "([providers.NAME.models])"
            )
        reason = f"{route.reason}; the request {needs.unmet_by(route.candidates)}"
        return Route(able[0].model, reason, able)

    def _others(self, local: Sequence[Candidate]) -> Iterator[Candidate]:
        """All that can be asked: first what is ranked for any category."""
        for ranking in self._rankings.by_category.values():
            for model in ranking.models:
                provider = self._providers[model.provider]
                if not provider.obstacle:
                    yield Candidate(provider, provider.served_as(model.id))
        for provider in self._providers.values():
            if not provider.obstacle and not provider.is_own:
                yield from (Candidate(provider, model) for model in provider.settings.models)
        yield from (candidate for candidate in local if not obstacle_to(candidate))

    def _stand_in(self, local: Sequence[Candidate]) -> Candidate | None:
        if not self._settings.stand_in:
            return None
        wanted = self._settings.local_model
        able = (
            candidate
            for candidate in local
            if not candidate.is_remote
            and (candidate.model == wanted if wanted else not candidate.is_embedder)
        )
        return next(able, None)

    def _nobody(self, wanted: str, candidates: Sequence[Candidate]) -> ProviderError:
        obstacles = dict.fromkeys(
            f"{candidate.provider.name}: {obstacle_to(candidate)}" for candidate in candidates
        )
        keys = dict.fromkeys(
            candidate.provider.settings.key_variable
            for candidate in candidates
            if candidate.provider.settings.key_variable and not candidate.provider.offline
        )
        set_key = (
            f"set {' or '.join(keys)} in the environment, in the data directory's .env or with "
            "`tokenflow keys set` and restart, or "
        ) * bool(keys)
        places = ", ".join(
            f"{provider.name} at {provider.base_url}"
            for provider in self._providers.values()
            if provider.is_own
        )
        return ProviderError(
            "unavailable",
            f"nobody can answer with {wanted} ({'; '.join(obstacles)}), and no server on this "
            f"machine was found ({places}): {set_key}start one of these, for instance with "
            "`ollama serve`",
        )


def obstacle_to(candidate: Candidate) -> str | None:
    """Why it cannot be asked, as settings and environment stand; None if it can."""
    if candidate.provider.offline and candidate.is_remote and candidate.provider.is_local:
        return f"the daemon is offline, and {candidate.model} runs on another machine"
    return candidate.provider.obstacle
