"""How soon a provider is told that nobody listens any more. That it is told at all, and what is
kept of the answer, is in tests/generate/test_clients.py."""

from __future__ import annotations

import time

import pytest

from tests.conftest import OpenRelay, eventually
from tests.generate.test_clients import CANCELLED_WITHIN_S, Client, endless
from tests.soak import Soak
from tests.upstream import chunk


@pytest.mark.soak
@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_how_soon_a_provider_is_cancelled(open_relay: OpenRelay, soak: Soak, how: str) -> None:
    relay = open_relay(endless(chunk("Once upon")))
    took = []
    for number in range(soak.size(200, 5)):
        client = Client(relay)
        client.read_until("Once upon")
        request = eventually(lambda n=number: relay.upstream.requests[n])
        started = time.monotonic()
        client.leave(how)
        assert request.gone.wait(10)
        took.append(time.monotonic() - started)
    name = f"provider cancelled after {how}, worst of {len(took)}"
    soak.figure(name, max(took), "s", below=CANCELLED_WITHIN_S)
