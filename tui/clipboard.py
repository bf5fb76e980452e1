"""Copies to the system's clipboard, and says only what is true about it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

# The first that is there and works; each reads its standard input.
TOOLS = (
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
    ("pbcopy",),
    ("clip.exe",),
)
PATIENCE_S = 2.0


def copy(app: App[Any], text: str) -> None:
    """By the system's own tool; else by OSC 52, of which nobody hears whether it arrived."""
    if text:
        app.run_worker(_copy(app, text), group="copy", exclusive=True, exit_on_error=False)
    else:
        app.notify("There is nothing to copy", severity="warning")


async def _copy(app: App[Any], text: str) -> None:
    for tool in TOOLS:
        if shutil.which(tool[0]) and await _is_taken(tool, text.encode()):
            app.notify(f"Copied {len(text):,} characters")
            return
    app.copy_to_clipboard(text)
    app.notify(f"Sent {len(text):,} characters to the terminal, if it takes them (OSC 52)")


async def _is_taken(tool: tuple[str, ...], text: bytes) -> bool:
    """Without a display such a tool waits, and would wait for ever."""
    process = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            process = await asyncio.create_subprocess_exec(
                *tool,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            await process.communicate(text)
            return process.returncode == 0
    except (OSError, TimeoutError):
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        return False
