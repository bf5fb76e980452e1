from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from tokenflowd.engine.batcher import Batcher
from tokenflowd.engine.tokenizer import EncodedSequence
from tokenflowd.errors import Busy, Cancelled

Batch = list[EncodedSequence]


def sequence(length: int, value: int = 0) -> EncodedSequence:
    ids = np.full(length, value, np.int32)
    return EncodedSequence(ids, np.zeros_like(ids))


def first_ids(batch: Batch) -> list[np.ndarray]:
    return [np.array([one.ids[0]], np.float32) for one in batch]


def batcher(
    run: Callable[[Batch], list[np.ndarray]], batch_tokens: int = 64, queue_tokens: int = 1000
) -> Batcher:
    return Batcher(run, batch_tokens=batch_tokens, queue_tokens=queue_tokens, name="test")


class Gate:
    """Holds the engine in its first batch until opened, and remembers all batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, batch: Batch) -> list[np.ndarray]:
        self.batches.append([len(one) for one in batch])
        self.entered.set()
        assert self.open.wait(10)
        return first_ids(batch)


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_results_come_back_in_the_callers_order() -> None:
    engine = batcher(first_ids)
    lengths = [5, 40, 12, 40, 3, 9]
    results = engine([sequence(length, index) for index, length in enumerate(lengths)])
    assert [int(result[0]) for result in results] == [0, 1, 2, 3, 4, 5]
    engine.close()


def test_a_batch_has_sequences_of_like_length_within_the_token_limit() -> None:
    gate = Gate()
    gate.open.set()
    engine = batcher(gate)
    engine([sequence(length) for length in (32, 31, 30, 10, 10, 60)])
    assert gate.batches == [[60], [32, 31], [30], [10, 10]]
    engine.close()


def test_waiting_callers_share_a_batch_and_take_turns() -> None:
    gate = Gate()
    engine = batcher(gate)
    threads = [in_thread(lambda: engine([sequence(64)]))]
    assert gate.entered.wait(5)
    threads.append(in_thread(lambda: engine([sequence(16)] * 6)))
    while len(engine._jobs) < 1:
        pass
    threads.append(in_thread(lambda: engine([sequence(16)])))
    while len(engine._jobs) < 2:
        pass
    gate.open.set()
    for thread, _ in threads:
        thread.join(5)
    assert gate.batches == [[64], [16] * 4, [16] * 3]
    engine.close()


def test_a_short_call_does_not_wait_for_all_of_a_long_one() -> None:
    gate = Gate()
    engine = batcher(gate)
    long, _ = in_thread(lambda: engine([sequence(64)] * 10))
    assert gate.entered.wait(5)
    short, _ = in_thread(lambda: engine([sequence(8)]))
    while len(engine._jobs) < 2:
        pass
    gate.open.set()
    long.join(5)
    short.join(5)
    assert gate.batches.index([8]) <= 2
    engine.close()


def test_a_full_queue_is_busy() -> None:
    gate = Gate()
    engine = batcher(gate, queue_tokens=100)
    first, _ = in_thread(lambda: engine([sequence(64), sequence(64)]))
    assert gate.entered.wait(5)
    with pytest.raises(Busy):
        engine([sequence(60)])
    gate.open.set()
    first.join(5)
    engine.close()


def test_stopped_work_ends_after_the_running_batch() -> None:
    gate = Gate()
    engine = batcher(gate)
    stop = threading.Event()
    thread, outcome = in_thread(lambda: engine([sequence(64)] * 50, stop))
    assert gate.entered.wait(5)
    stop.set()
    gate.open.set()
    thread.join(5)
    assert isinstance(outcome[0], Cancelled)
    assert len(gate.batches) <= 2
    engine.close()


def test_a_failing_run_fails_its_callers_and_nobody_else() -> None:
    def run(batch: Batch) -> list[np.ndarray]:
        if batch[0].ids[0] == 13:
            raise RuntimeError("bad batch")
        return first_ids(batch)

    engine = batcher(run)
    with pytest.raises(RuntimeError, match="bad batch"):
        engine([sequence(8, 13), sequence(40, 1)])
    assert int(engine([sequence(8, 7)])[0][0]) == 7
    engine.close()


def test_a_closed_engine_refuses_work() -> None:
    engine = batcher(first_ids)
    engine.close()
    with pytest.raises(Cancelled):
        engine([sequence(4)])


def test_no_sequences_need_no_run() -> None:
    engine = batcher(first_ids)
    assert engine([]) == []
    engine.close()
