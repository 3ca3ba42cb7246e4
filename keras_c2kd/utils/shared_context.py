"""A context that several threads enter in turns."""

from collections.abc import Callable
from typing import Any


class SharedContext:
    """A context of the first who enters until the last who leaves.

    TensorFlow traces the replicas of a strategy in turns: a second one is
    inside of a context before the first one has left it.

    Args:
        enter: Function without arguments, called by the first.
        leave: Function of what `enter` returned, called by the last.
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
