"""A method, a selection and a divergence of one's own, compared with C2KD.

`MarginMatching` lets the student imitate by how much the teacher prefers its
first class to its second. `SureTeacher` distils only where the teacher is
sure. Both are compared, and the method's weight is searched if you add
`tune=10` (extra `tune`). The pairs are generated, with few labels.

    KERAS_BACKEND=jax python recipes/examples/own_method.py
"""

import keras
import numpy as np
from keras import ops

import keras_c2kd
from keras_c2kd import methods
from keras_c2kd import selection
from keras_c2kd.data import PairedSplits


@keras.saving.register_keras_serializable("mine")
class SureTeacher(selection.SampleSelection):
    """Score: the probability of the teacher's first class."""

    def score(self, teacher_logits, student_logits, labels):
        return ops.max(ops.softmax(teacher_logits), axis=-1)


@keras.saving.register_keras_serializable("mine")
class MarginMatching(methods.DistillationMethod):
    """`H(f_S, y) + weight * mean((m_S - m_T)^2)`, m the margins of classes."""

    loss_names = ("student_supervised", "margins")
    diagnostic_names = ("teacher_margin",)
    fixes_teacher = True
    search_space = {"weight": methods.SearchRange(0.01, 10.0, log=True)}

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def compute_losses(self, outputs, targets):
        student = outputs["student"]["logits"]
        teacher = ops.stop_gradient(outputs["teacher"]["logits"])
        best, second = ops.top_k(teacher, 2)[1][..., 0:1], None
        second = ops.top_k(teacher, 2)[1][..., 1:2]

        def margin(logits):
            first = ops.take_along_axis(logits, best, axis=-1)
            return first - ops.take_along_axis(logits, second, axis=-1)

        wanted = margin(teacher)
        errors = ops.mean((margin(student) - wanted) ** 2, axis=-1)
        losses = {
            "student_supervised": targets.supervised_loss(student),
            "margins": self.weight
            * self.reduce_samples(errors, targets.weights),
        }
        return losses, {"teacher_margin": ops.mean(wanted)}

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def generated_pairs():
    """Draw 1,500 events seen by two sensors; of every tenth a label is used."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 1500)
    event = random.normal(1.5 * random.normal(size=(6, 10))[labels])
    near = np.tanh(event @ random.normal(size=(10, 32)) / 2)
    far = random.normal(np.tanh(event @ random.normal(size=(10, 20)) / 2))
    return PairedSplits.from_arrays(
        {"near": near, "far": far},
        np.where(np.arange(1500) % 10 < 5, labels, -1),
        test=0.6,
        validation=0.4,
    )


def network(size):
    """Build one hidden layer and a classifier."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((size,)), layers.Dense(64, "relu"), layers.Dense(6)]
    )


result = keras_c2kd.compare(
    generated_pairs(),
    {"far": lambda: network(20), "near": lambda: network(32)},
    student="far",
    methods=[
        "c2kd",
        MarginMatching,
        {"kd_sure": methods.KnowledgeDistillation(selection=SureTeacher(0.8))},
    ],
    seeds=3,
    training=keras_c2kd.Training(epochs=10, learning_rate=5e-3),
)
print(result)
result.plot("own_method.png")
