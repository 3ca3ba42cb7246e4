"""What the compiled loss, and the distiller, say about labels."""

import contextlib
import dataclasses
import functools
import inspect
from numbers import Integral
from typing import Any
from typing import Self

import keras

from keras_c2kd.backend.keras_internals import function_arguments
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.typing import Config
from keras_c2kd.typing import Network
from keras_c2kd.utils.argument_checks import check_number

# Losses of Keras that read probabilities and have no `from_logits`.
_OF_PROBABILITIES = (
    keras.losses.KLDivergence,
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.Dice,
    keras.losses.Tversky,
)
_OF_INTEGERS = (keras.losses.CategoricalGeneralizedCrossEntropy,)
_ARGUMENTS = ("from_logits", "ignore_class", "axis")


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """What the compiled loss, and the distiller, say about labels.

    A sample, or with dense logits each of its pixels, is *labelled*;
    *ignored*, if the loss ignores its label or a layer has masked it, and then
    counts in no term; or *unlabelled*, and then has no supervised term, but
    the other modality may teach it.

    Attributes:
        sparse: Whether the loss takes integers (`True`) or one-hot labels
            (`False`); `None` if it does not say.
        distributions: Whether one-hot labels are probabilities of one class.
        from_logits: Whether the loss takes logits; `None` if it does not say.
        ignore_class: Label of ignored samples, or `None`.
        reduction: As for every Keras loss.
        unlabeled_class: Label of unlabelled samples, or `None` if there are
            none. One-hot labels of zeros alone are unlabelled.
        unlabeled_confidence: Float from 0 to 1. Terms that need a class leave
            out unlabelled samples to whose most probable class the teacher
            gives less.
    """

    sparse: bool | None = None
    distributions: bool = False
    from_logits: bool | None = None
    ignore_class: int | None = None
    reduction: str | None = "sum_over_batch_size"
    unlabeled_class: int | None = None
    unlabeled_confidence: float = 0.0

    @classmethod
    def of(
        cls,
        loss: Any,
        unlabeled_class: int | None = None,
        unlabeled_confidence: float = 0.0,
    ) -> Self:
        """Return what a loss says about labels.

        Args:
            loss: `keras.losses.Loss`, function or name, as `single_loss`
                returns it.
            unlabeled_class: As for the class.
            unlabeled_confidence: As for the class.

        Raises:
            ValueError: If the loss takes the classes from another axis than
                the last, or ignores the label of unlabelled samples, or if
                there are such samples for a loss that knows no classes.
        """
        loss = keras.losses.get(loss)
        said = _arguments(loss)
        name = _crossentropy_name(loss)
        if name is not None and said.get("axis", -1) != -1:
            raise ValueError(
                "The classes lie on the last axis of the logits. Received: a "
                f"loss with axis={said['axis']}. Leave `axis` out, and let "
                "the network end with the classes on its last axis."
            )
        sparse = None if name is None else "sparse" in name
        from_logits = said.get("from_logits")
        if _is_one_of(loss, _OF_PROBABILITIES):
            from_logits = False
        if _is_one_of(loss, _OF_INTEGERS):
            sparse = True
        spec = cls(
            sparse=sparse,
            distributions=sparse is False and "categorical" in (name or ""),
            from_logits=from_logits,
            ignore_class=said.get("ignore_class"),
            reduction=getattr(loss, "reduction", "sum_over_batch_size"),
            unlabeled_class=unlabeled_class,
            unlabeled_confidence=unlabeled_confidence,
        )
        spec._check_unlabeled(loss)
        return spec

    def _check_unlabeled(self, loss: Any) -> None:
        if self.unlabeled_class is None:
            return
        if self.unlabeled_class == self.ignore_class:
            raise ValueError(
                "A sample is ignored or unlabelled, and one label cannot say "
                f"both. Received: unlabeled_class={self.unlabeled_class} and "
                f"a loss with ignore_class={self.ignore_class}. Leave "
                "`ignore_class` out of the loss, or give the unlabelled "
                "samples another number."
            )
        if self.sparse is None or (not self.sparse and not self.distributions):
            name = getattr(loss, "name", getattr(loss, "__name__", loss))
            raise ValueError(
                "Samples without labels need a loss of one class each, such as "
                "keras.losses.SparseCategoricalCrossentropy(from_logits="
                f"True). Received: unlabeled_class={self.unlabeled_class} "
                f"with the loss {name!r}"
            )

    @property
    def has_unlabeled(self) -> bool:
        """Whether samples may be unlabelled."""
        return self.unlabeled_class is not None


def single_loss(loss: Any) -> Any:
    """Return the one loss of what `compile(loss=)` received.

    Args:
        loss: A loss as Keras takes it (object, function or name), or a list
            or dict of one.

    Raises:
        ValueError: If there is none, or several.
    """
    given = loss
    while isinstance(loss, (list, tuple, dict)):
        parts = list(loss.values() if isinstance(loss, dict) else loss)
        if len(parts) != 1:
            raise ValueError(
                "A distiller has one output, the student's logits, and one "
                f"supervised loss. Received: loss={given!r}. Pass one loss; "
                "the method adds its own terms."
            )
        loss = parts[0]
    if loss is None:
        raise ValueError(
            "`compile()` needs the supervised loss. Pass "
            "loss=keras.losses.SparseCategoricalCrossentropy("
            f"from_logits=True). Received: loss={given!r}"
        )
    return loss


def check_unlabeled(
    unlabeled_class: int | None,
    unlabeled_confidence: float,
    teacher: Network | None,
    method: DistillationMethod,
) -> None:
    """Refuse arguments about unlabelled samples that mean nothing.

    Raises:
        ValueError: If the class is no integer, the confidence is not between
            0 and 1 or is given without the class, or there is no teacher.
    """
    check_number(
        minimum=0, maximum=1, unlabeled_confidence=unlabeled_confidence
    )
    if unlabeled_class is None:
        if unlabeled_confidence:
            raise ValueError(
                "`unlabeled_confidence` is about samples without labels. "
                f"Received: unlabeled_confidence={unlabeled_confidence} and "
                "unlabeled_class=None. Say which label these samples have, "
                "for example unlabeled_class=-1."
            )
        return
    if not isinstance(unlabeled_class, Integral) or isinstance(
        unlabeled_class, bool
    ):
        raise ValueError(
            "`unlabeled_class` is the integer that stands for no label, such "
            f"as -1. Received: unlabeled_class={unlabeled_class!r}"
        )
    if teacher is None:
        raise ValueError(
            "Samples without labels learn from the teacher, and "
            f"{type(method).__name__} has none: it can do nothing with them. "
            f"Received: unlabeled_class={unlabeled_class} and teacher=None. "
            "Leave the unlabelled samples out of its data, or use a method "
            "with a teacher."
        )


def _arguments(loss: Any) -> Config:
    """Return what a loss says of the arguments that matter here.

    A loss object by its configuration, or by its attributes where that lacks
    them; a function by the values it is called with.
    """
    said: Config = {}
    function = getattr(loss, "fn", loss)
    while isinstance(function, functools.partial):
        said = {**function.keywords, **said}
        function = function.func
    if inspect.isroutine(function):
        # Some functions written in C have no signature.
        with contextlib.suppress(TypeError, ValueError):
            for name, parameter in inspect.signature(
                function
            ).parameters.items():
                if parameter.default is not parameter.empty:
                    said.setdefault(name, parameter.default)
    if isinstance(loss, keras.losses.Loss):
        # What it hands to its function: the configuration of Keras' sparse
        # cross-entropy lacks the axis.
        said |= function_arguments(loss)
        for name in _ARGUMENTS:
            if hasattr(loss, name):
                said[name] = getattr(loss, name)
        # A loss of the user's may be one that cannot be saved.
        with contextlib.suppress(
            NotImplementedError, TypeError, AttributeError
        ):
            said |= loss.get_config()
    return {name: said[name] for name in _ARGUMENTS if name in said}


def _names(loss: Any) -> list[str]:
    """Return the names of a loss: its classes and its functions."""
    functions = [getattr(loss, "fn", loss)]
    while isinstance(functions[-1], functools.partial):
        functions.append(functions[-1].func)
    names = [getattr(function, "__name__", "") for function in functions]
    names += [kind.__name__ for kind in type(loss).__mro__]
    return [name.lower().replace("_", "") for name in names]


def _crossentropy_name(loss: Any) -> str | None:
    """Return the name that says which cross-entropy it is, or None."""
    return next((name for name in _names(loss) if "crossentropy" in name), None)


def _is_one_of(loss: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a loss is of one of Keras' classes, or is its function."""
    if isinstance(loss, kinds):
        return True
    known = {kind.__name__.lower() for kind in kinds}
    module = getattr(getattr(loss, "fn", loss), "__module__", "") or ""
    return module.startswith("keras.") and bool(known & set(_names(loss)))
