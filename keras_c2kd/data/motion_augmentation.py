"""Recordings of vectors in space, changed as another trial would be."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.argument_checks import check_number

_VERTICAL = np.array([0.0, 1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class MotionAugmentation:
    """Turn, scale and shift a recording of vectors, and add noise to it.

    Args:
        rotation: Float, degrees: all vectors are turned by one angle, drawn
            from `-rotation` to `rotation`.
        axis: `"any"`: about an axis drawn from all directions, for a sensor
            that can be strapped on askew; `"vertical"`: about the second
            coordinate, for a person who can stand askew to a camera. Defaults
            to `"any"`.
        scale: Float below 1: all numbers are multiplied by one factor, drawn
            from `1 - scale` to `1 + scale`.
        shift: Float below 0.5, a fraction of the length: the beginning and the
            end are each moved by up to so much. What lies outside of the
            recording is its first or last vector.
        jitter: Float, standard deviation of the noise added to each number.

    Raises:
        ValueError: If a number is negative or too large, or the axis is
            another.

    Example:
    >>> augmentation = MotionAugmentation(rotation=20.0, shift=0.1)
    >>> array = np.ones((128, 6), "float32")
    >>> augmentation(array, np.random.default_rng(0)).shape
    (128, 6)
    """

    rotation: float = 0.0
    axis: str = "any"
    scale: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number(0, 180, rotation=self.rotation)
        check_number(0, 1, scale=self.scale)
        check_number(0, 0.5, shift=self.shift)
        check_number(0, jitter=self.jitter)
        if self.axis not in ("any", "vertical"):
            raise ValueError(
                "`axis` must be 'any' or 'vertical'. Received: "
                f"axis={self.axis!r}"
            )

    def __call__(
        self, array: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return another recording of the same shape.

        Args:
            array: Float array `(steps, channels)`; each three channels are the
                coordinates of a vector.
            random: Numpy generator.
        """
        factor = random.uniform(1 - self.scale, 1 + self.scale)
        turn = factor * rotation_matrix(
            _VERTICAL if self.axis == "vertical" else random.normal(size=3),
            np.radians(random.uniform(-self.rotation, self.rotation)),
        )
        start, stop = random.uniform(-self.shift, self.shift, 2)
        last = len(array) - 1
        window = np.linspace(start * last, (1 + stop) * last, len(array))
        moved = at_positions(array, np.clip(window, 0, last))
        vectors = moved.reshape(-1, 3) @ turn.T.astype(array.dtype)
        noise = random.standard_normal(array.shape, "float32")
        return vectors.reshape(array.shape) + self.jitter * noise


def at_positions(
    sequence: NDArray[np.floating], positions: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return a sequence between its steps, by linear interpolation.

    Args:
        sequence: Float array `(steps, ...)`.
        positions: Float array, from 0 to the last step.

    Returns:
        Float array `(positions, ...)`.
    """
    before = np.floor(positions).astype(int)
    after = np.minimum(before + 1, len(sequence) - 1)
    shape = (-1, *[1] * (sequence.ndim - 1))
    fraction = (positions - before).reshape(shape).astype(sequence.dtype)
    return sequence[before] + fraction * (sequence[after] - sequence[before])


def rotation_matrix(
    axis: NDArray[np.floating], angle: float
) -> NDArray[np.floating]:
    """Return the matrix `(3, 3)` that turns vectors about an axis.

    Rodrigues' formula: `R = I + sin(angle) K + (1 - cos(angle)) K^2`, where
    `K v` is the cross product of the unit axis with `v`.

    Args:
        axis: Float array `(3,)`, not all 0.
        angle: Float, radians.
    """
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: NDArray[np.floating] = (
        np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    )
    return turned
