"""Files that a person names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from textual.suggester import Suggester

MAX_BYTES = 5_000_000


def read_text(file: Path) -> str:
    """Raises ValueError with one sentence for people."""
    try:
        if file.exists() and not file.is_file():  # a pipe or a device may never end
            raise ValueError(f"{file} is no file")
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file} has more than {MAX_BYTES / 1e6:.0f} MB")
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    if "\0" in text:
        raise ValueError(f"{file} is no text")
    return text


def write_text(file: Path, text: str, *, replace: bool) -> None:
    """Raises ValueError with one sentence for people, also about what is there and not to be
    replaced."""
    try:
        with file.open("w" if replace else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ValueError(f"{file} is there already; Enter once more replaces it") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None


def fenced_text(file: Path) -> str:
    """The file's text with its name, as one writes it into a prompt. Raises ValueError."""
    text = read_text(file)
    # Longer than any in the file, so that none of them ends it.
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{file.name}:\n{fence}\n{text.rstrip()}\n{fence}"


class PathSuggester(Suggester):
    """The first path that goes on as typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(_completed, value) if value else None


def _completed(value: str) -> str | None:
    try:
        typed = Path(value).expanduser()
        folder, beginning = (typed, "") if value.endswith("/") else (typed.parent, typed.name)
        names = sorted(
            entry.name + ("/" if entry.is_dir() else "")
            for entry in folder.iterdir()
            if entry.name.startswith(beginning) and (beginning or entry.name[0] != ".")
        )
    except (OSError, RuntimeError):  # RuntimeError: ~ of a user that is not there
        return None
    return value + names[0][len(beginning) :] if names else None
