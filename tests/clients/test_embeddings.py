"""Libraries that ask for embeddings, here of our own sentence encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import LIBRARIES, PATIENCE_S, Library
from tests.conftest import OpenRelay

pytestmark = [pytest.mark.clients, pytest.mark.timeout(PATIENCE_S + 20)]

DIMENSIONS = 384


@pytest.mark.parametrize(
    "program", [library for library in LIBRARIES if "llamaindex.py" not in library.values]
)
def test_texts_are_embedded(open_relay: OpenRelay, tmp_path: Path, program: str) -> None:
    report = Library(program).report(open_relay(), "embed", tmp_path)
    assert report == {"sizes": [DIMENSIONS] * 2}
