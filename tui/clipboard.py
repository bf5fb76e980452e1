"""Copies to the system's clipboard, and says only what is true about it."""

from __future__ import annotations

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


def copy(app: App[Any], text: str) -> None:
    """By the system's own tool; else by OSC 52, of which nobody hears whether it arrived."""
    if not text:
        app.notify("There is nothing to copy", severity="warning")
        return
    for tool in TOOLS:
        if shutil.which(tool[0]) is None:
            continue
        try:
            subprocess.run(
                tool,
                input=text.encode(),
                check=True,
                timeout=2,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        app.notify(f"Copied {len(text):,} characters")
        return
    app.copy_to_clipboard(text)
    app.notify(f"Sent {len(text):,} characters to the terminal, if it takes them (OSC 52)")
