"""The HTTP edge: one module for each resource, and the guards before them."""

from tokenflowd.api.routes import add_routes

__all__ = ["add_routes"]
