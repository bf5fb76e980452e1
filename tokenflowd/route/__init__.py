"""From a prompt to the models that may answer it, and whether to compress it first."""

from tokenflowd.route.break_even import Decision, Measured, decide
from tokenflowd.route.corrector import Corrector
from tokenflowd.route.decisions import Decisions
from tokenflowd.route.needs import Needs
from tokenflowd.route.rankings import DEFAULT_CATEGORIES, Rankings
from tokenflowd.route.router import Route, Router

__all__ = [
    "DEFAULT_CATEGORIES",
    "Corrector",
    "Decision",
    "Decisions",
    "Measured",
    "Needs",
    "Rankings",
    "Route",
    "Router",
    "decide",
]
