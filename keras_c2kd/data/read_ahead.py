"""Batches that threads read before they are asked for."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import Future
from typing import Any


class ReadAhead:
    """Reads the batches that come next, as long as they are taken in order.

    A batch that is taken out of order is read by itself. The threads end when
    there is nothing left to read; with the program, after the batches that
    they are reading.

    Args:
        read: Function from an index to a batch. Several threads call it.
        size: Integer, number of batches.
        threads: Integer, how many batches are read at a time.
        most: Integer, how many batches are kept that were not taken yet.
    """

    def __init__(
        self, read: Callable[[int], Any], size: int, threads: int, most: int
    ) -> None:
        self._read = read
        self._size = size
        self._threads = threads
        self._most = most
        self._last = -1
        self._begun: dict[int, Future[Any]] = {}
        self._waiting: deque[tuple[int, Future[Any]]] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def take(self, index: int) -> Any:
        """Return a batch.

        Args:
            index: Integer, the batch's.

        Raises:
            Exception: What `read` raises for this batch.
        """
        with self._lock:
            follows = index in (0, self._last + 1) or index in self._begun
            self._last = index
            # Whatever lies elsewhere is not what comes next.
            end = min(index + 1 + self._most, self._size) if follows else index
            self._keep(range(index, end))
            batch = self._begun.pop(index, None)
        if batch is None:
            return self._read(index)
        try:
            return batch.result()
        except CancelledError:
            return self._read(index)

    def stop(self) -> None:
        """Read nothing more ahead; what is being read is not kept."""
        with self._lock:
            self._keep(range(0))

    def _keep(self, indices: range) -> None:
        """Begin to read these batches, and give up all others."""
        for index in self._begun.keys() - set(indices):
            self._begun.pop(index).cancel()
        for index in indices:
            if index in self._begun:
                continue
            batch: Future[Any] = Future()
            self._begun[index] = batch
            self._waiting.append((index, batch))
            if self._running < self._threads:
                self._running += 1
                threading.Thread(target=self._work).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                index, batch = self._waiting.popleft()
            # A program that ends waits for its threads. Daemons, for which it
            # would not wait, can crash it from inside of a decoder.
            if not threading.main_thread().is_alive():
                batch.cancel()
            if not batch.set_running_or_notify_cancel():
                continue
            try:
                batch.set_result(self._read(index))
            except BaseException as error:
                batch.set_exception(error)
