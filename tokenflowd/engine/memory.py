"""Gives memory that was freed back to the system."""

from __future__ import annotations

import ctypes


def give_back_memory() -> None:
    """glibc keeps what was freed for later, some 40 MB after a long text (measured); other C
    libraries have no such call and need none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
