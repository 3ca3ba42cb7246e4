"""A context that several threads share."""

from collections.abc import Callable
from typing import Any


class SharedContext:
    """Opens a context for the first thread and closes it after the last one.

    TensorFlow traces the replicas of a strategy in turns: a second one
    enters a context before the first one has left it.

    Args:
        enter: Function without arguments, called for the first thread.
        leave: Function of what `enter` returned, called after the last thread.
    """

    def __init__(
        self, enter: Callable[[], Any], leave: Callable[[Any], object]
    ) -> None:
        self._enter, self._leave = enter, leave
        self._inside = 0
        self._state = None

    def __enter__(self) -> None:
        if not self._inside:
            self._state = self._enter()
        self._inside += 1

    def __exit__(self, *error: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._leave(self._state)
