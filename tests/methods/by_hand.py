"""Calling `compute_losses` on logits alone, without a distiller."""

import keras
import numpy as np

from keras_c2kd.methods import Targets
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits

HEADS = ("student", "teacher", "student_proxy", "teacher_proxy")


def random_heads(*shape, scale=2.0):
    """Different logits for every head, by name."""
    return {
        name: random_logits(*shape, seed=seed, scale=scale)
        for seed, name in enumerate(HEADS)
    }


def equal_heads(logits):
    """The same logits for every head."""
    return {name: logits.copy() for name in HEADS}


def valid_weights(valid):
    """Weights with which the mean over all rows is that over valid ones."""
    return valid / max(valid.mean(), 1e-30)


def terms_of(method, heads, labels, weights=None, valid=None, **kwargs):
    """The terms and the diagnostics in numpy; `kwargs` as for `evaluate`."""
    inputs = {"labels": labels, "weights": weights, "valid": valid, **heads}
    inputs = {name: x for name, x in inputs.items() if x is not None}
    return evaluate(
        lambda *arrays: _compute_losses(method, **dict(zip(inputs, arrays))),
        *inputs.values(),
        **kwargs,
    )


def gradients_of(method, heads, labels, weights=None, valid=None):
    """Gradients by term and head: `{term: {head: array}}`."""

    def weighted_sum(choice, *logits):
        losses, _ = _compute_losses(
            method, labels, weights, valid, **dict(zip(heads, logits))
        )
        terms = [losses[name] for name in method.loss_names]
        return keras.ops.sum(choice * keras.ops.stack(terms))

    found = {}
    for name, choice in zip(method.loss_names, np.eye(len(method.loss_names))):
        _, *arrays = gradients(weighted_sum, choice, *heads.values())
        found[name] = dict(zip(heads, arrays))
    return found


def _compute_losses(method, labels, weights=None, valid=None, **logits):
    def supervised_loss(logits):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss(labels, logits, sample_weight=weights)

    outputs = {
        "student": {"logits": logits["student"]},
        "teacher": {"logits": logits["teacher"]},
        "heads": {name: logits[name] for name in HEADS[2:] if name in logits},
    }
    if weights is not None:
        weights = keras.ops.convert_to_tensor(weights, keras.config.floatx())
    if valid is not None:
        valid = keras.ops.convert_to_tensor(valid)
    return method.compute_losses(
        outputs, Targets(labels, weights, valid, supervised_loss)
    )
