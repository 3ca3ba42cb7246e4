"""Which network each term of each method trains."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import DLB
from keras_c2kd.methods import Targets
from tests.helpers.gradients import gradients
from tests.helpers.method_contract import contract_cases
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

# Networks that a term reaches; a fixed teacher is reached by none.
REACHED = {
    "student_supervised": {"student"},
    "teacher_supervised": {"teacher"},
    "distillation": {"student"},
    "teacher_proxy": {"teacher"},
    "student_proxy": {"student"},
    "cross_modal": {"student", "teacher"},
    "hint": {"student"},
    "review": {"student"},
    "relational_distance": {"student"},
    "relational_angle": {"student"},
    "mini_batch": {"student"},
    "pixel_memory": {"student"},
    "region_memory": {"student"},
    "student_mutual": {"student"},
    "teacher_mutual": {"teacher"},
    "shadow_supervised": set(),
    "shadow_mutual": {"student"},
    "shadow_hint": set(),
    "pseudo_labels": {"student"},
    "zipf": {"student"},
    "target": {"student"},
    "non_target": {"student"},
    "weak": {"student"},
}
# DLB's term of the last batch is 0 in the first step; it has its own test.
CASES = {n: c for n, c in contract_cases.items() if c is not DLB and n != "dlb"}


@pytest.mark.parametrize("create", CASES.values(), ids=CASES)
def test_each_term_trains_whom_it_should(create):
    inputs, labels = toy_data(32)
    method = create()
    distiller = toy_distiller(method)
    outputs = distiller.compute_outputs(inputs)
    if method.warmup_steps:
        method.step.assign(method.warmup_steps)
    places = [
        (role, name)
        for role in ("student", "teacher")
        for name in outputs.get(role, ())
    ]
    arrays = [
        keras.ops.convert_to_numpy(outputs[role][name]) for role, name in places
    ]
    # Networks that agree on some ranks, so that a selection is not empty.
    if ("teacher", "logits") in places:
        teacher = arrays[places.index(("teacher", "logits"))]
        number = places.index(("student", "logits"))
        arrays[number] = arrays[number] + teacher
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    unlabeled = True if "pseudo_labels" in method.loss_names else None

    def chosen_term(choice, *tensors):
        outputs = {}
        for (role, name), tensor in zip(places, tensors):
            if role == "teacher" and method.teacher_update == "none":
                tensor = keras.ops.stop_gradient(tensor)
            outputs.setdefault(role, {})[name] = tensor
        targets = Targets(
            labels=keras.ops.convert_to_tensor(labels),
            weights=None,
            valid=None,
            supervised_loss=lambda logits: loss(labels, logits),
            given_labels=labels,
            loss=loss,
            labeled=unlabeled and keras.ops.convert_to_tensor(labels > 0),
            weights_where=lambda mask: keras.ops.cast(mask, "float32"),
        )
        # Heads and memories may change their state; it is thrown away.
        with keras.StatelessScope():
            outputs["heads"] = method(outputs, training=True)
            losses, _ = method.compute_losses(outputs, targets)
        terms = [keras.ops.sum(losses[name]) for name in method.loss_names]
        return keras.ops.sum(choice * keras.ops.stack(terms))

    number = len(method.loss_names)
    for name, choice in zip(method.loss_names, np.eye(number, dtype="float32")):
        _, *found = gradients(chosen_term, choice, *arrays)
        reached = {
            role
            for (role, _), gradient in zip(places, found)
            if np.abs(gradient).max() > 0
        }
        expected = REACHED[name]
        if method.teacher_update == "none":
            expected = expected - {"teacher"}
        if name == "cross_modal" and not method.bidirectional:
            expected = {"student"}
        assert reached == expected, name
