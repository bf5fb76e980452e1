"""The history in SQLite: one writer, many readers. Rows stay in here."""

from tokenflowd.store.backup import back_up
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
from tokenflowd.store.retention import forget_old
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
    "back_up",
    "forget_old",
    "iso_time",
    "new_id",
]
