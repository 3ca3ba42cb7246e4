"""Shapes that must agree: broadcasting would hide that they do not."""


def check_same_shape(first, second, rule):
    """Raise a ValueError if the known sizes of two shapes differ.

    Args:
        first: Tuple, `None` for a size that is not known.
        second: Tuple.
        rule: String, a sentence that the two fulfil.
    """
    first, second = tuple(first), tuple(second)
    if len(first) != len(second) or any(
        None not in sizes and sizes[0] != sizes[1]
        for sizes in zip(first, second)
    ):
        raise ValueError(f"{rule} Received: shapes {first} and {second}")
