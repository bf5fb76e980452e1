"""Where the log goes, and what must never be in it."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from tokenflowd.config import Config, LogLevel, ServerConfig
from tokenflowd.errors import ConfigError
from tokenflowd.files import make_folder, open_file

MASK = "***"
# An Authorization header, and keys by the beginnings that providers give theirs.
_BEARER = re.compile(r"(?i)\b(bearer)\s+[^\s\"',;]+")
_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:sk|gsk|csk|hf|xai|nvapi)[-_][\w-]{12,}")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_as_configured(config: Config) -> Path | None:
    """For the daemon. The file, if one is written. Raises ConfigError.

    As with Ollama, that is standard error, which a terminal shows and systemd's journal keeps and
    rotates; a file where nobody would keep it: under launchd, and when the TUI starts the daemon.
    """
    settings = config.server
    file = config.log_file if settings.log_file else None
    handler = _rotating(file, settings) if file else logging.StreamHandler()
    as_json = settings.log_format == "json"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_TEXT))
    _log_to(handler, config, settings.log_level)
    return file


def log_warnings(config: Config) -> None:
    """For commands: what goes wrong, in plain sentences."""
    _log_to(logging.StreamHandler(), config, "warning")


def _rotating(file: Path, settings: ServerConfig) -> logging.Handler:
    """Modes are those of the process's umask, 077, in a directory that is only the user's."""
    try:
        make_folder(file.parent)
        return _LogFile(
            file,
            maxBytes=settings.log_max_bytes,
            backupCount=settings.log_backups,
            encoding="utf-8",
        )
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error


class _LogFile(RotatingFileHandler):
    """Opens, at first and after each turn, a regular file only."""

    def _open(self) -> io.TextIOWrapper:
        descriptor = open_file(Path(self.baseFilename), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        return os.fdopen(descriptor, "a", encoding=self.encoding)


def _log_to(handler: logging.Handler, config: Config, level: LogLevel) -> None:
    """The one place where handlers come from, so that none is without the filter. It has to be
    the handler's: a logger's own filter sees only what is said to that very logger."""
    handler.addFilter(SecretsFilter(config.secrets))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


def hide(secrets: Iterable[str]) -> None:
    """From now on these, too: the keyring tells its keys only after the log was begun."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, SecretsFilter):
                each.hide(secrets)


class SecretsFilter(logging.Filter):
    """Takes keys out of whatever is logged: message, arguments, exceptions, stacks."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets: frozenset[str] = frozenset()
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        self._secrets |= frozenset(secrets)
        # The longest first: one key may begin with another.
        known = sorted(self._secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrubbed(_message(record)), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None  # nobody after us writes it out anew
        if record.exc_text:
            record.exc_text = self._scrubbed(record.exc_text)
        if record.stack_info:
            record.stack_info = self._scrubbed(record.stack_info)
        return True

    def _scrubbed(self, text: str) -> str:
        if self._known:
            text = self._known.sub(MASK, text)
        return _TOKEN.sub(MASK, _BEARER.sub(rf"\1 {MASK}", text))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors; times are UTC, ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        entry = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text:
            entry["exception"] = record.exc_text
        return msgspec.json.encode(entry).decode()


def _message(record: logging.LogRecord) -> str:
    """A filter must not raise: it would be the caller of the logger who gets it."""
    try:
        return record.getMessage()
    except Exception:
        return f"{record.msg} {record.args}"
