from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenflowd.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "home" / "tokenflow.db")
    yield opened
    opened.close()
