"""Forgets requests when they are old enough."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tokenflowd.store.records import iso_time
from tokenflowd.store.store import Store

DAY_S = 24 * 60 * 60.0


async def forget_old(store: Store, keep_days: int, *, every_s: float = DAY_S) -> None:
    """Deletes requests older than `keep_days`, now and once a day, until it is cancelled; with
    0, none."""
    while keep_days:
        before = iso_time(datetime.now(UTC) - timedelta(days=keep_days))
        # A few at a time: what others write meanwhile stands in the same queue and gets its turn.
        while await asyncio.wrap_future(store.delete_some(before)):
            pass
        await asyncio.sleep(every_s)
