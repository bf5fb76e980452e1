"""What outlives the app: settings and drafts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenflow_tui.state import Settings, State


def test_settings_and_drafts_outlive_the_app(tmp_path: Path) -> None:
    state = State(tmp_path / "new")
    state.settings.model, state.settings.keys = "groq/x", {"help": "f12"}
    state.save_settings()
    state.save_draft("ask", "half a thought\n汉字")
    again = State(tmp_path / "new")
    assert again.settings == state.settings
    assert again.draft("ask") == "half a thought\n汉字"
    assert again.draft("compress") == ""


def test_a_sent_draft_is_gone(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_draft("ask", "something")
    state.save_draft("ask", "")
    assert State(tmp_path).draft("ask") == ""


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", '{"model": 3, "temperature": "hot", "unknown": 1}', "\x00"]
)
def test_a_damaged_file_costs_the_settings_only(tmp_path: Path, content: str) -> None:
    (tmp_path / "tui.json").write_text(content)
    assert State(tmp_path).settings == Settings()


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    state = State(tmp_path / "private")
    state.save_draft("ask", "a secret")
    (file,) = (tmp_path / "private").iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_where_nothing_can_be_written_the_app_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = State(tmp_path / "file")
    state.save_draft("ask", "text")
    state.save_draft("ask", "")
    state.save_settings()
