"""The history in SQLite: one writer, many readers. Rows stay in here."""

from tokenflowd.store.history import Filter, History
from tokenflowd.store.metrics import Metrics
from tokenflowd.store.records import (
    ClassificationRecord,
    CompressionRecord,
    CorrectionRecord,
    GenerationRecord,
    Message,
    RequestRecord,
    iso_time,
    new_id,
)
from tokenflowd.store.store import Store

__all__ = [
    "ClassificationRecord",
    "CompressionRecord",
    "CorrectionRecord",
    "Filter",
    "GenerationRecord",
    "History",
    "Message",
    "Metrics",
    "RequestRecord",
    "Store",
    "iso_time",
    "new_id",
]
