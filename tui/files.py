"""Files that a person names."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.suggester import Suggester

MAX_BYTES = 5_000_000


def read_text(file: Path) -> str:
    """Raises ValueError with one sentence for people."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file} has more than {MAX_BYTES / 1e6:.0f} MB")
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None


class PathSuggester(Suggester):
    """The first path that goes on as typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(_completed, value) if value else None


def _completed(value: str) -> str | None:
    typed = Path(value).expanduser()
    folder, beginning = (typed, "") if value.endswith("/") else (typed.parent, typed.name)
    try:
        names = sorted(
            entry.name + ("/" if entry.is_dir() else "")
            for entry in folder.iterdir()
            if entry.name.startswith(beginning) and (beginning or entry.name[0] != ".")
        )
    except OSError:
        return None
    return value + names[0][len(beginning) :] if names else None
