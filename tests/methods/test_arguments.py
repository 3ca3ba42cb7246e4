"""Every argument means something, and what means nothing is refused."""

import inspect

import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd import selection as selections
from keras_c2kd.utils.final_arguments import argument_names
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

CIRKD = {
    "pixel_memory": 24,
    "region_memory": 8,
    "contrast_pixels": 32,
    "contrast_regions": 16,
}
NEEDED = {"DLB": {"batch_size": 32}, "CIRKD": CIRKD, "ReviewKD": {"levels": 3}}
METHODS = {
    name: kind
    for name, kind in vars(methods).items()
    if inspect.isclass(kind)
    and issubclass(kind, methods.DistillationMethod)
    and kind is not methods.DistillationMethod
}
SELECTIONS = {
    name: getattr(selections, name)
    for name in selections.__all__
    if name != "SampleSelection"
}
LOSSES = {name: getattr(losses, name) for name in losses.__all__}
LOSSES.pop("RelationalLoss")
every_method = pytest.mark.parametrize("name", METHODS)
LAYERS = {**METHODS, **SELECTIONS, "OGM": methods.OGM}
no_backend = pytest.mark.backend_free


def create(name, /, **kwargs):
    return LAYERS[name](**{**NEEDED.get(name, {}), **kwargs})


def own_arguments(kind):
    """Names and defaults of a class's arguments, those of its bases too."""
    found = {}
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters.values()
        for parameter in parameters:
            if parameter.kind == parameter.POSITIONAL_OR_KEYWORD:
                found.setdefault(parameter.name, parameter.default)
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
        if base.__mro__[1].__name__ == "DistillationMethod":
            break
    del found["self"]
    return found


@no_backend
@pytest.mark.parametrize("name", LAYERS)
def test_the_configuration_is_the_arguments(name):
    layer = create(name)
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    # No warm-up is the default, and the only one that is left out.
    taken = {"name", "dtype", *own_arguments(type(layer))}
    taken |= {*getattr(layer, "_used_options", list)()}
    assert set(config) == taken - {"warmup_steps"}


@no_backend
@pytest.mark.parametrize("name", LAYERS)
def test_refuses_what_it_does_not_use(name):
    layer = create(name)
    used = set(layer.get_config())
    used |= {"warmup_steps"} if getattr(layer, "warms_up", False) else set()
    for argument in {
        "tempreature",
        "trainable",
        "activity_regularizer",
        "autocast",
        "teacher_update",
        "update_frozen_statistics",
        "warmup_steps",
        "threshold",
        "on",
        "divergence",
    } - used:
        with pytest.raises((TypeError, ValueError), match=argument):
            create(name, **{argument: True})


@no_backend
def test_who_uses_what():
    def users(argument):
        return {
            name for name in METHODS if argument in create(name)._used_options()
        }

    logits = {"KnowledgeDistillation", "DKD", "DIST", "NKD"}
    logits |= {"MultimodalTeacher"}
    assert users("warmup_steps") == logits | {"ReviewKD"}
    assert users("teacher_update") == logits | {"C2KD", "DML"}
    without = {"Supervised", "USKD", "ZipfKD", "DLB"}
    assert users("update_frozen_statistics") == set(METHODS) - without
    with pytest.raises(ValueError, match="'top', bidirectional=False"):
        methods.C2KD(bidirectional=False, teacher_update="top")


@no_backend
@pytest.mark.parametrize("name", {**LAYERS, **LOSSES})
def test_refuses_numbers_without_meaning(name):
    kind = {**LAYERS, **LOSSES}[name]
    for argument, default in own_arguments(kind).items():
        wrong = []
        if isinstance(default, float):
            wrong = [float("nan"), float("inf"), "1", None]
            wrong += [] if argument == "threshold" else [-1.0]
            wrong += [0.0] if argument == "temperature" else []
        elif type(default) is int or argument == "batch_size":
            wrong = [-1, 0.5, "1"]
        elif argument == "proxy_weights":
            wrong = [(1.0,), (1.0, -1.0), (float("nan"), 1.0)]
        for value in wrong:
            with pytest.raises(ValueError, match=f"`{argument}`"):
                kind(**{**NEEDED.get(name, {}), argument: value})


@no_backend
@pytest.mark.parametrize("name", LAYERS)
def test_arguments_are_final(name):
    layer = create(name)
    layer.built = True
    assert len(argument_names(type(layer))) > 0
    for argument in argument_names(type(layer)):
        with pytest.raises(AttributeError, match=f"`{argument}` of {name}"):
            setattr(layer, argument, 1)


@no_backend
def test_methods_of_ones_own_keep_their_constructor():
    class Mine(methods.DistillationMethod):
        needs_teacher = False
        warms_up = True

        def __init__(self, weight=1.0, **kwargs):
            super().__init__(**kwargs)
            self.weight = 2 * weight

    method = Mine(3.0, warmup_steps=4)
    assert (method.weight, method.warmup_steps) == (6.0, 4)
    assert method.get_config()["warmup_steps"] == 4
    with pytest.raises(AttributeError, match="`weight` of Mine"):
        method.weight = 1.0
    with pytest.raises(ValueError, match="Mine has no use for `teacher_upd"):
        Mine(teacher_update="all")


def test_the_parts_of_a_distiller_are_final():
    distiller = toy_distiller(methods.KnowledgeDistillation(), compiled=False)
    for name, value in {
        "method": methods.C2KD(),
        "student": toy_network(VISUAL),
        "teacher": None,
        "student_modality": "other",
        "synchronize_batch_norm": False,
    }.items():
        with pytest.raises(AttributeError, match=f"`{name}` of Cross"):
            setattr(distiller, name, value)
    distiller.check_data = False
    assert (
        CrossModalDistiller.from_config(distiller.get_config()).check_data
        is False
    )


def changed(name, argument, value):
    """Return another value of an argument, or None."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2.0 or 0.5
    if isinstance(value, int):
        return value // 2 or 3
    if isinstance(value, (tuple, list)):
        return tuple(part + 1.0 for part in value)
    if argument == "teacher_update":
        return "all" if value == "top" else "top"
    return {"width": 5}.get(argument)


def traces(name, **kwargs):
    """What two steps log, and the shapes of all variables."""
    inputs, labels = toy_data(16)
    rows = {}
    if name == "PseudoLabels":
        labels, rows = np.where(labels > 1, labels, -1), {"unlabeled_class": -1}
    distiller = toy_distiller(create(name, **kwargs), **rows)
    logs = [
        distiller.train_on_batch(inputs, labels, return_dict=True)
        for _ in range(2)
    ]
    shapes = [tuple(variable.shape) for variable in distiller.variables]
    return np.array([list(log.values()) for log in logs]), shapes


@pytest.mark.slow
@no_backend
@every_method
def test_every_argument_is_used(name):
    # Of a teacher that is trained as a whole, no statistics are frozen.
    update = {"C2KD": "none", "MultimodalTeacher": "none", "DML": "top"}
    base = {"teacher_update": update[name]} if name in update else {}
    logged, shapes = traces(name, **base)
    config = create(name, **base).get_config()
    if create(name).warms_up:
        config["warmup_steps"] = 0
    for argument, value in config.items():
        other = changed(name, argument, value)
        if argument in ("name", "dtype") or other is None:
            continue
        given = {**base, argument: other}
        if argument in ("bidirectional", "zero_target_logit"):
            given = {k: v for k, v in given.items() if k != "teacher_update"}
        new, new_shapes = traces(name, **given)
        assert new_shapes != shapes or not np.array_equal(new, logged), argument
