"""The history in SQLite: one writer, many readers. Rows stay in here."""

from tokenflowd.store.history import Filter, History
from tokenflowd.store.records import ClassificationRecord, CompressionRecord, RequestRecord, new_id
from tokenflowd.store.store import Store

__all__ = [
    "ClassificationRecord",
    "CompressionRecord",
    "Filter",
    "History",
    "RequestRecord",
    "Store",
    "new_id",
]
