"""What outlives the app: the draft, and how the person likes things. Files that can be read."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import platformdirs


@dataclass
class Settings:
    """`keys` maps a binding's id (see keymap.py) to other keys, such as {"send": "ctrl+s"}."""

    theme: str = "tokenflow"
    model: str = "auto"
    compress: str = "off"  # off, auto, or a share of the tokens to keep
    system: str = ""
    temperature: float = 0.7
    max_tokens: int = 2048
    sidebar: bool = True
    keys: dict[str, str] = field(default_factory=dict)


class State:
    """The files in one folder. One that is damaged or cannot be written costs what it held, never
    the app."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.settings = self._read_settings()

    @property
    def daemon_token(self) -> str:
        """Of the daemon whose data directory this is; empty if it asks for none."""
        try:
            return self._read(self._folder / "token").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def settings_file(self) -> Path:
        return self._folder / "tui.json"

    def save_settings(self) -> None:
        self._write(self.settings_file, json.dumps(asdict(self.settings), indent=2) + "\n")

    def draft(self, name: str) -> str:
        """What was typed and not sent."""
        try:
            return self._read(self._draft_file(name))
        except (OSError, UnicodeDecodeError):
            return ""

    def save_draft(self, name: str, text: str) -> None:
        if text:
            self._write(self._draft_file(name), text)
        else:
            with contextlib.suppress(OSError):
                self._draft_file(name).unlink(missing_ok=True)

    def _draft_file(self, name: str) -> Path:
        return self._folder / f"tui-draft-{name}.txt"

    def _read_settings(self) -> Settings:
        settings = Settings()
        try:
            stored = json.loads(self._read(self.settings_file))
        except (OSError, ValueError):
            return settings
        for known in fields(settings):
            value = stored.get(known.name) if isinstance(stored, dict) else None
            kind = type(getattr(settings, known.name))
            if kind is float and type(value) is int:  # JSON's 1
                value = float(value)
            if type(value) is kind:
                setattr(settings, known.name, value)
        return settings

    def _read(self, file: Path) -> str:
        """Of a regular file only: a link leads elsewhere, a pipe may never answer. Raises OSError,
        UnicodeDecodeError."""
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{file} is no regular file")
            return opened.read()

    def _write(self, file: Path, text: str) -> None:
        """At once or not at all, and into a new file: never into what a link leads to."""
        beside = file.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            beside.replace(file)
        except OSError:
            pass


def default_folder() -> Path:
    """The daemon's data directory, where the history is, too."""
    named = os.environ.get("TOKENFLOW_HOME")
    return Path(named) if named else platformdirs.user_data_path("tokenflow", appauthor=False)
