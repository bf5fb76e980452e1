"""Turns checkpoints of Hugging Face into models of the catalog.

The only place that imports torch, transformers and optimum, and only inside functions: they belong
to the `export` extra.
"""

from tokenflowd.export.checkpoint import find_checkpoint
from tokenflowd.export.exporter import Precision, Report, export_model

__all__ = ["Precision", "Report", "export_model", "find_checkpoint"]
