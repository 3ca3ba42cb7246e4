"""Objects whose constructor's arguments stay as they were given."""

import functools
import inspect
from collections.abc import Callable
from typing import Any
from typing import Self

import keras

from keras_c2kd.typing import Config


class FinalArguments:
    """Refuses to set an attribute that is an argument of the constructor.

    What is built of an argument, such as a loss, a head or a compiled step,
    would not follow: the attribute and what the object does would differ.
    This class stands before the Keras class among the bases.
    """

    name: str
    dtype_policy: keras.DTypePolicy

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            constructor = _then_final(vars(cls)["__init__"])
            setattr(cls, "__init__", constructor)

    # Further names that cannot be set once an object is constructed, and of
    # an object that is, all of them.
    final_names: tuple[str, ...] = ()
    _final: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._final and not self.may_change(name):
            kind = type(self).__name__
            raise AttributeError(
                f"`{name}` of {kind} is an argument of its constructor and "
                "cannot be changed afterwards: what was built of it would not "
                f"follow. Received: {name}={value!r}. Create a new {kind} "
                f"with `{name}=` instead."
            )
        super().__setattr__(name, value)

    def get_config(self) -> Config:
        """Return the arguments that each of these layers has."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the layer from `get_config()`, and what it is made of."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict) and "class_name" in value
                else value
                for name, value in config.items()
            }
        )

    def may_change(self, name: str) -> bool:
        """Return whether a constructor's argument can be set all the same."""
        return False


@functools.cache
def argument_names(kind: type) -> frozenset[str]:
    """Return the named arguments of a class and of its bases here.

    Args:
        kind: Subclass of `FinalArguments`.

    Returns:
        Frozen set of names, without `name` and `dtype`, which are Keras'.
    """
    names = set()
    for base in kind.__mro__:
        if issubclass(base, FinalArguments) and "__init__" in vars(base):
            names |= {
                name
                for name, parameter in inspect.signature(
                    base.__init__
                ).parameters.items()
                if parameter.kind
                not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            }
    return frozenset(names - {"self", "name", "dtype"})


def _then_final(constructor: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor after which the arguments cannot be set."""

    @functools.wraps(constructor)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        # Constructors of bases end before those of their subclasses.
        kind: type = type(self)
        if getattr(kind, "__init__") is construct:
            names = argument_names(kind).union(self.final_names)
            vars(self)["_final"] = names

    # Keras reads the signature of what is called itself.
    setattr(construct, "__signature__", inspect.signature(constructor))
    return construct
