"""From a category to a model."""

from tokenflowd.route.rankings import DEFAULT_CATEGORIES, Rankings

__all__ = ["DEFAULT_CATEGORIES", "Rankings"]
