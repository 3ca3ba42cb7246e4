"""Refuse a class, a name or anything else where an object is wanted."""


def check_instance(value, base, argument, example):
    """Refuse what is no instance of a class.

    Args:
        value: What was given.
        base: The class.
        argument: Name of the argument.
        example: What could be given instead, in code. A subclass of `base`
            that was given is its own example.

    Raises:
        ValueError: If `value` is no instance of `base`.
    """
    if isinstance(value, base):
        return
    if isinstance(value, type) and issubclass(value, base):
        example = f"{value.__name__}()"
    raise ValueError(
        f"`{argument}` is a {base.__name__}. Received: {argument}={value!r} "
        f"of type {type(value).__name__}. Pass an instance: "
        f"{argument}={example}"
    )
