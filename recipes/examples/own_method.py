"""A method, a selection and a divergence of one's own, compared with KD.

`MarginMatching`: the teacher's margin of its first class over the second is
imitated. `SureTeacher`: only where the teacher is sure. `tune=10` would search
the weight (extra `tune`). The pairs are generated, with few labels.
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
        _, order = ops.top_k(teacher, 2)  # The teacher's first two classes.

        def margin(logits):
            first, second = ops.unstack(
                ops.take_along_axis(logits, order, axis=-1), axis=-1
            )
            return first - second

        wanted = margin(teacher)
        errors = (margin(student) - wanted) ** 2
        matching = self.reduce_samples(errors, targets.weights)
        losses = {
            "student_supervised": targets.supervised_loss(student),
            "margins": self.weight * matching,
        }
        return losses, {"teacher_margin": ops.mean(wanted)}

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def generated_pairs():
    """Draw 1,500 events of two sensors; 40 of 500 are labelled."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 1500)
    event = random.normal(1.5 * random.normal(size=(6, 10))[labels])
    near = np.tanh(event @ random.normal(size=(10, 32)) / 2)
    far = random.normal(np.tanh(event @ random.normal(size=(10, 20)) / 2))
    rows = np.arange(1500)
    return PairedSplits.from_arrays(
        {"near": near, "far": far},
        labels,
        test=rows >= 700,
        validation=(rows >= 500) & (rows < 700),
        unlabeled=(rows >= 40) & (rows < 500),
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
        "kd",
        MarginMatching,
        {"kd_sure": methods.KnowledgeDistillation(selection=SureTeacher(0.8))},
    ],
    seeds=3,
    training=keras_c2kd.Training(epochs=8, learning_rate=5e-3),
)
print(result)
result.plot("own_method.png")
