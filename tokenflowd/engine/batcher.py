"""Micro-batching: one thread runs the sequences of all callers, in batches of like length."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenflowd.engine.memory import give_back_memory
from tokenflowd.engine.tokenizer import EncodedSequence
from tokenflowd.errors import Busy, Cancelled

Run = Callable[[list[EncodedSequence]], list[NDArray[np.float32]]]

# A sequence shorter than this share of its batch's longest waits for a better fitting batch:
# padding is computed as if it were text.
MIN_FILL = 0.75
# After this long without work, freed memory goes back to the system.
IDLE_S = 0.2


class _Job:
    """One caller's sequences, longest first, and how far they are."""

    def __init__(self, sequences: Sequence[EncodedSequence], stop: threading.Event | None) -> None:
        self.sequences = sequences
        self.order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        self.taken = 0
        self.results: list[NDArray[np.float32] | None] = [None] * len(sequences)
        self.waiting_tokens = sum(map(len, sequences))
        self.unfinished = len(sequences)
        self.error: Exception | None = None
        self.done = threading.Event()
        self._stop = stop

    @property
    def stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def next_length(self) -> int:
        """Length of the longest sequence not yet taken; 0 when all are."""
        if self.taken == len(self.order):
            return 0
        return len(self.sequences[self.order[self.taken]])

    def take(self) -> int:
        index = self.order[self.taken]
        self.taken += 1
        self.waiting_tokens -= len(self.sequences[index])
        return index

    def finish(self, index: int, result: NDArray[np.float32]) -> None:
        self.results[index] = result
        self.unfinished -= 1
        if self.unfinished == 0:
            self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()


class Batcher:
    """Turns concurrent calls into batches of at most `batch_tokens` padded tokens.

    Callers take turns, a batch each, so that a short text does not wait for a long one. At
    most `queue_tokens` wait; a single call may exceed that only when nothing else waits.
    """

    def __init__(self, run: Run, *, batch_tokens: int, queue_tokens: int, name: str) -> None:
        self._run = run
        self._batch_tokens = batch_tokens
        self._queue_tokens = queue_tokens
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._has_worked = True  # loading a model leaves memory behind, too
        self._thread = threading.Thread(target=self._work, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def __call__(
        self, sequences: Sequence[EncodedSequence], stop: threading.Event | None = None
    ) -> list[NDArray[np.float32]]:
        """The model's output for each sequence, in order. Blocks.

        When `stop` is set, the work ends after the batch that is running and Cancelled is
        raised. Raises Busy when the queue is full.
        """
        if not sequences:
            return []
        job = _Job(sequences, stop)
        with self._changed:
            if self._closed:
                raise Cancelled("the engine has been shut down")
            waiting = sum(other.waiting_tokens for other in self._jobs)
            if waiting and waiting + job.waiting_tokens > self._queue_tokens:
                raise Busy(f"{waiting} tokens already wait for this model; try again shortly")
            self._jobs.append(job)
            self._changed.notify()
        job.done.wait()
        if job.error is not None:
            raise job.error
        return [result for result in job.results if result is not None]

    def close(self) -> None:
        """Ends after the running batch; calls that still wait raise Cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                results = self._run([job.sequences[index] for job, index in batch])
            except Exception as error:  # the callers' error, not the thread's end
                for job in {id(job): job for job, _ in batch}.values():
                    job.fail(error)
                continue
            for (job, index), result in zip(batch, results, strict=True):
                job.finish(index, result)

    def _next_batch(self) -> list[tuple[_Job, int]]:
        """Waits for work. An empty batch means: closed."""
        with self._changed:
            while True:
                self._drop_stopped()
                if self._jobs or self._closed:
                    break
                if not self._changed.wait(IDLE_S if self._has_worked else None):
                    give_back_memory()
                    self._has_worked = False
            if not self._jobs:
                return []
            longest = self._jobs[0].next_length()
            batch: list[tuple[_Job, int]] = []
            for job in self._jobs:
                while MIN_FILL * longest <= job.next_length() <= longest and (
                    not batch or (len(batch) + 1) * longest <= self._batch_tokens
                ):
                    batch.append((job, job.take()))
            self._has_worked = True
            self._jobs.rotate(-1)
            self._jobs = deque(job for job in self._jobs if job.next_length())
            return batch

    def _drop_stopped(self) -> None:
        for job in [job for job in self._jobs if job.stopped or job.error or self._closed]:
            self._jobs.remove(job)
            if not job.done.is_set():
                job.fail(Cancelled("the work was stopped"))
