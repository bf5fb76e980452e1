"""Starts a daemon where none is running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def can_start(url: str) -> bool:
    """Whether a daemon at `url` would be one on this machine, and is installed."""
    return urlsplit(url).hostname in LOCAL_HOSTS and _program() is not None


def start_daemon(url: str) -> None:
    """Leaves a daemon running that outlives the app. Raises OSError."""
    program = _program()
    if program is None:
        raise FileNotFoundError("tokenflowd is not installed beside this program")
    port = urlsplit(url).port or 80
    subprocess.Popen(
        [program, "--port", str(port), "--log-level", "warning", "--log-file"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _program() -> str | None:
    beside = Path(sys.executable).with_name("tokenflowd")
    return str(beside) if beside.exists() else None
