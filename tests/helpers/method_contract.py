"""What every distillation method must do, on every backend.

`contract_cases` lists the methods; `tests/methods/test_contract.py` runs each
of these checks on each of them.
"""

import functools

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import losses
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import CIRKD
from keras_c2kd.methods import DIST
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DLB
from keras_c2kd.methods import DML
from keras_c2kd.methods import NKD
from keras_c2kd.methods import OGM
from keras_c2kd.methods import RKD
from keras_c2kd.methods import SHAKE
from keras_c2kd.methods import USKD
from keras_c2kd.methods import FitNet
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.methods import MultimodalTeacher
from keras_c2kd.methods import PseudoLabels
from keras_c2kd.methods import ReviewKD
from keras_c2kd.methods import Supervised
from keras_c2kd.methods import ZipfKD
from keras_c2kd.selection import GradientCosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import RandomSelection
from keras_c2kd.selection import SelectAll
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network
from tests.helpers.toys import toy_teacher

contract_cases = {
    "supervised": Supervised,
    "kd": KnowledgeDistillation,
    "kd_random": lambda: KnowledgeDistillation(selection=RandomSelection()),
    "c2kd": lambda: C2KD(name="c2kd"),
    "c2kd_top": lambda: C2KD(teacher_update="top", name="c2kd_top"),
    "c2kd_fixed": lambda: C2KD(teacher_update="none"),
    "c2kd_one_way": lambda: C2KD(bidirectional=False),
    "c2kd_no_proxies": lambda: C2KD(proxies=False),
    "c2kd_zeroed": lambda: C2KD(
        zero_target_logit=True, selection=KendallSelection(on="main")
    ),
    "c2kd_selected": lambda: C2KD(
        selection=KendallSelection(mean_over="selected", variant="b")
    ),
    "c2kd_gradient": lambda: C2KD(selection=GradientCosineSelection()),
    "c2kd_plain": lambda: C2KD(
        proxies=False,
        selection=SelectAll(),
        non_target=False,
        bidirectional=False,
    ),
    "c2kd_dist": lambda: C2KD(divergence=losses.DISTLoss()),
    "c2kd_nkd": lambda: C2KD(divergence=losses.NKDLoss()),
    "pseudo_labels": PseudoLabels,
    "dkd": DKD,
    "dkd_selected": lambda: DKD(selection=KendallSelection(on="main")),
    "tckd": lambda: DKD(non_target_weight=0.0),
    "dist": DIST,
    "nkd": NKD,
    "nkd_trained": lambda: NKD(teacher_update="all", warmup_steps=3),
    "fitnet": FitNet,
    "fitnet_pointwise": lambda: FitNet(1.0, regressor="pointwise"),
    "review_kd": lambda: ReviewKD(levels=3),
    "rkd": RKD,
    "cirkd": lambda: CIRKD(
        pixel_memory=24,
        region_memory=8,
        contrast_pixels=32,
        contrast_regions=16,
    ),
    "dml": DML,
    "shake": SHAKE,
    "shake_own": lambda: SHAKE(
        own_classifier=True, pointwise_negative_slope=0.1, shadow_channels=10
    ),
    "dlb": lambda: DLB(32),
    "zipf_kd": ZipfKD,
    "zipf_kd_logits": lambda: ZipfKD(
        rank_by="logits",
        only_correct=True,
        mean_over="selected",
        unbiased_bounds=(0.001, 1.0),
    ),
    "uskd": USKD,
    "concat": MultimodalTeacher,
    "ogm": lambda: MultimodalTeacher(modulation=OGM(0.3)),
    "ogm_ge": lambda: MultimodalTeacher(
        modulation=OGM(0.3, noise=True, steps=2, seed=0)
    ),
}


def once_a_form(cases):
    """Parametrize `create`: forms of a method seen before on one backend.

    Args:
        cases: Dict from names to functions that create a method.
    """
    first = {}
    for name, create in cases.items():
        first.setdefault(type(create()), name)
    forms = set(cases) - set(first.values())
    return pytest.mark.parametrize(
        "create",
        [
            pytest.param(
                create,
                id=name,
                marks=[pytest.mark.one_backend] if name in forms else [],
            )
            for name, create in cases.items()
        ],
    )


@functools.cache
def _weights_of_a_trained_teacher():
    inputs, labels = toy_data(128)
    distiller = toy_distiller(
        Supervised(),
        student=toy_network(AUDIO, seed=1),
        student_modality=AUDIO,
    )
    distiller.fit(inputs, labels, batch_size=32, epochs=12, verbose=0)
    return distiller.student.get_weights()


def trained_teacher():
    """A teacher that knows its own modality, as the protocol wants it."""
    teacher = toy_network(AUDIO, seed=1)
    teacher.set_weights(_weights_of_a_trained_teacher())
    return teacher


def check_learns(create):
    """The loss falls and the student beats chance by far."""
    inputs, labels = toy_data(128)
    method = create()
    teacher = None
    if method.needs_teacher and not isinstance(method, MultimodalTeacher):
        teacher = trained_teacher()
    # Compiled as by default: with XLA on JAX, on TensorFlow only with a GPU.
    distiller = toy_distiller(
        method, teacher=teacher, compile={"jit_compile": "auto"}
    )
    history = distiller.fit(
        inputs, labels, batch_size=32, epochs=12, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    accuracy = distiller.evaluate(
        {VISUAL: inputs[VISUAL]}, labels, verbose=0, return_dict=True
    )["accuracy"]
    assert accuracy > 0.6


def check_first_step(distiller):
    """It logs what the method says and trains who the method says."""
    inputs, labels = toy_data(32)
    roles = {
        role: getattr(distiller, role)
        for role in ("student", "teacher", "method")
        if getattr(distiller, role) is not None
    }
    before = {name: numpy_weights(role) for name, role in roles.items()}
    history = distiller.fit(
        inputs, labels, validation_data=(inputs, labels), verbose=0
    ).history
    check_logs_its_terms(distiller.method, history)
    moved = {
        name: [
            not np.array_equal(old, new)
            for old, new in zip(before[name], numpy_weights(role), strict=True)
        ]
        for name, role in roles.items()
    }
    check_trains_who_it_says(distiller.method, moved)


def check_logs_its_terms(method, history):
    """Terms and diagnostics are logged in training and only there."""
    terms = set(method.loss_names)
    logged = terms | set(method.diagnostic_names)
    assert logged <= set(history)
    assert not any(f"val_{name}" in history for name in logged)
    total = sum(history[name][0] for name in terms)
    np.testing.assert_allclose(history["loss"][0], total, rtol=1e-5)
    if "selected_fraction" in history:
        assert 0.0 <= history["selected_fraction"][0] <= 1.0
        assert -1.0 <= history["kendall"][0] <= 1.0


def check_trains_who_it_says(method, moved):
    """One step moves the student; the teacher moves as the method says."""
    assert all(moved["student"])
    assert all(moved["method"])
    if "teacher" in moved:
        wanted = {
            "all": all(moved["teacher"]),
            "top": any(moved["teacher"]) and not all(moved["teacher"]),
            "none": not any(moved["teacher"]),
        }
        assert wanted[method.teacher_update]


def run_quickly(distiller):
    """Do not trace a step on TensorFlow for the few that a check does.

    To trace one takes longer than to do some. `check_learns` traces those of
    all methods; those of C2KD as it comes are traced everywhere.
    """
    if keras.backend.backend() == "tensorflow":
        distiller.run_eagerly = distiller.method.name != "c2kd"


def check_weights_compose(create):
    """Weight 0 is absence; a scale of all weights scales every term."""
    inputs, labels = toy_data(32)
    weights = np.linspace(0.5, 2.0, 32).astype("float32")
    method = create()
    distiller = toy_distiller(method)
    run_quickly(distiller)

    start = [keras.ops.convert_to_numpy(v).copy() for v in distiller.variables]

    def terms(weights):
        # The same state each time, that of random generators included.
        for variable, value in zip(distiller.variables, start):
            variable.assign(value)
        distiller.reset_metrics()
        logs = distiller.train_on_batch(
            inputs, labels, sample_weight=weights, return_dict=True
        )
        return {name: float(logs[name]) for name in method.loss_names}

    once, twice = terms(weights), terms(2.0 * weights)
    for name in method.loss_names:
        np.testing.assert_allclose(
            twice[name], 2.0 * once[name], rtol=1e-4, atol=1e-6
        )
    assert terms(0.0 * weights) == dict.fromkeys(method.loss_names, 0.0)


def check_serializes(create):
    """`from_config(get_config())` gives an equal distiller."""
    distiller = toy_distiller(create(), compiled=False)
    config = distiller.get_config()
    copy = CrossModalDistiller.from_config(config)
    # Networks and heads are the same; names of anonymous layers may count on.
    assert copy.method.get_config() == distiller.method.get_config()
    for key in ("student_modality", "teacher_modality", "student_features"):
        assert copy.get_config()[key] == config[key]
    assert [w.shape for w in copy.weights] == [
        w.shape for w in distiller.weights
    ]
    assert len(copy.trainable_variables) == len(distiller.trainable_variables)


def check_saves_and_resumes(distiller, folder):
    """A saved and reloaded run goes on as the original does."""
    inputs, labels = toy_data(32)

    def train(model):
        history = model.fit(
            inputs, labels, batch_size=32, epochs=2, shuffle=False, verbose=0
        ).history
        return [value for name in sorted(history) for value in history[name]]

    train(distiller)
    distiller.save(folder / "distiller.keras")
    copy = keras.models.load_model(folder / "distiller.keras")
    copy.run_eagerly = distiller.run_eagerly
    assert train(copy) == train(distiller)
    assert_same_weights(copy, distiller)
    assert_same_weights(
        [keras.ops.convert_to_numpy(v) for v in copy.optimizer.variables],
        [keras.ops.convert_to_numpy(v) for v in distiller.optimizer.variables],
    )


def check_mixed_precision(create, policy):
    """Half precision trains with finite losses; they are computed in full."""
    keras.config.set_dtype_policy(policy)
    inputs, labels = toy_data(64)
    distiller = toy_distiller(create())
    run_quickly(distiller)
    scaled = type(distiller.optimizer).__name__ == "LossScaleOptimizer"
    assert scaled == (policy == "mixed_float16")
    before = numpy_weights(distiller.student)
    history = distiller.fit(
        inputs, labels, batch_size=32, epochs=2, verbose=0
    ).history
    assert all(np.isfinite(values).all() for values in history.values())
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, numpy_weights(distiller.student))
    ]
    assert all(moved)


def check_edge_batches(create):
    """Two classes, one sample, huge or constant logits stay finite."""
    # Two networks a method, not one a case: each would be compiled anew.
    for num_classes, cases in (
        (2, [(16, 1.0)]),
        (4, [(1, 1.0), (16, 1e4), (16, 0.0)]),
    ):
        distiller = _distiller_of(create(), num_classes)
        run_quickly(distiller)
        start = [keras.ops.convert_to_numpy(v) for v in distiller.variables]
        start = [value.copy() for value in start]
        for samples, scale in cases:
            for variable, value in zip(distiller.variables, start):
                variable.assign(value)
            for network in (distiller.student, distiller.teacher):
                if network is not None:
                    kernel = _classifier(network).kernel
                    kernel.assign(kernel * scale)
            inputs, labels = toy_data(samples, num_classes)
            if samples < distiller.method.min_batch_size:
                with pytest.raises(ValueError, match="at least"):
                    distiller.fit(inputs, labels, verbose=0)
                distiller.check_data = False
            logs = distiller.fit(
                inputs, labels, batch_size=samples, verbose=0
            ).history
            case = (num_classes, samples, scale)
            assert all(np.isfinite(v).all() for v in logs.values()), case
            for weight in numpy_weights(distiller):
                assert np.isfinite(weight).all(), case
            method = distiller.method
            if num_classes == 2 and getattr(method, "non_target", False):
                if not method.zero_target_logit:
                    assert logs["cross_modal"] == [0.0]


def _distiller_of(method, num_classes):
    """A toy distiller of so many classes with a tiny learning rate."""
    return toy_distiller(
        method,
        student=toy_network(VISUAL, num_classes, seed=2),
        teacher=toy_teacher(method, num_classes)[0],
        compile={"optimizer": keras.optimizers.SGD(1e-6)},
    )


def _classifier(network):
    names = [layer.name for layer in network.layers]
    if "fusion" in names:
        return network.get_layer("fusion").classifier
    return network.get_layer("logits")
