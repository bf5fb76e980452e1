"""TokenFlow: a local daemon that compresses prompts, routes them and remembers them."""

__version__ = "0.1.0"
