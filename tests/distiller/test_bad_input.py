import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods import DKD
from keras_c2kd.methods import RKD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods import FitNet
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import RandomSelection
from tests.distiller.test_cross_modal_distiller import PairedDataset
from tests.distiller.test_cross_modal_distiller import as_data_loader
from tests.distiller.test_cross_modal_distiller import as_generator
from tests.distiller.test_cross_modal_distiller import as_tf_dataset
from tests.helpers.toys import AUDIO
from tests.helpers.toys import SHAPES
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


def fit_fails(message, inputs, labels, **compile_arguments):
    """Training raises before a single weight has moved."""
    distiller = toy_distiller(C2KD(), compile=compile_arguments)
    before = numpy_weights(distiller)
    with pytest.raises(ValueError, match=message):
        distiller.fit(inputs, labels, verbose=0)
    assert_same_weights(numpy_weights(distiller), before)


def test_missing_modality():
    inputs, labels = toy_data(8)
    fit_fails("lacks the modality .'audio'", {VISUAL: inputs[VISUAL]}, labels)
    fit_fails("dict keyed by modality", inputs[VISUAL], labels)
    distiller = toy_distiller(C2KD())
    with pytest.raises(ValueError, match="student_modality='visual'"):
        distiller.predict({AUDIO: inputs[AUDIO]}, verbose=0)


@pytest.mark.slow
def test_labels_out_of_range_or_of_a_wrong_shape():
    inputs, labels = toy_data(8)
    wrong = labels.copy()
    wrong[5] = 4
    fit_fails("from 0 to 3.*4 at sample 5", inputs, wrong)
    fit_fails(
        "from 0 to 3.*-1 at sample 5", inputs, np.where(wrong == 4, -1, 0)
    )
    fit_fails("from 0 to 3.*3.5 at sample", inputs, labels + 0.5)
    fit_fails("one-hot", inputs, np.eye(4)[labels])
    fit_fails("one a sample", inputs, np.stack([labels, labels], -1))
    fit_fails("7 labels for 8 samples", inputs, labels[:7])
    fit_fails(
        "one-hot vectors of 4",
        inputs,
        labels,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite(value):
    inputs, labels = toy_data(8)
    inputs[AUDIO][3, 0, 0, 0] = value
    fit_fails("finite.*'audio' of sample 3", inputs, labels)


def test_sample_weights_that_are_not_finite():
    inputs, labels = toy_data(8)
    weights = np.ones(8, "float32")
    weights[2] = np.nan
    distiller = toy_distiller(C2KD())
    with pytest.raises(ValueError, match="sample_weight of sample 2"):
        distiller.fit(inputs, labels, sample_weight=weights, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(np.arange(8) == 3, -1.0, 1.0), "not negative.*sample 3"),
        (np.ones((8, 3)), "weights of shape .8, 3. for 8 samples"),
        (np.ones((1, 8)), "weights of shape .1, 8. for 8 samples"),
        (np.ones(7), "weights of shape .7,. for 8 samples"),
        (np.float32(1.0), "sample_weight must be an array"),
        (np.full(8, "1.0"), "sample_weight must be real numbers"),
    ],
)
def test_sample_weights_that_weigh_nothing(weights, message):
    inputs, labels = toy_data(8)
    distiller = toy_distiller(C2KD())
    before = numpy_weights(distiller)
    for call in (distiller.fit, distiller.train_on_batch, distiller.evaluate):
        with pytest.raises(ValueError, match=message):
            call(inputs, labels, sample_weight=weights)
    assert_same_weights(numpy_weights(distiller), before)


@pytest.mark.parametrize(
    "class_weight", [{0: -1.0}, {1: np.nan}, {4: 1.0}, {"happy": 2.0}]
)
def test_weights_of_classes_that_weigh_nothing(class_weight):
    inputs, labels = toy_data(8)
    distiller = toy_distiller(C2KD())
    for call in (distiller.fit, distiller.train_on_batch):
        with pytest.raises(ValueError, match="classes, from 0 to 3.*Received"):
            call(inputs, labels, class_weight=class_weight)


def test_labels_that_are_no_numbers_or_not_there():
    inputs, labels = toy_data(8)
    fit_fails("labels must be real numbers.*of <U", inputs, labels.astype(str))
    fit_fails("comes with labels.*inputs alone", inputs, None)
    stream = (inputs for _ in range(2))
    fit_fails("comes with labels.*batch 0: inputs alone", stream, None)


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [1, 0, 1, 0], [2, -1, 0, 0]])
def test_one_hot_labels_that_are_no_distribution(row):
    inputs, labels = toy_data(8)
    one_hot = np.eye(4)[labels]
    one_hot[5] = row
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    fit_fails("with the sum 1.*at sample 5", inputs, one_hot, loss=loss)


def test_inputs_that_are_finite_but_not_for_training():
    inputs, labels = toy_data(8)
    huge = {**inputs, AUDIO: inputs[AUDIO].astype("float64") * 1e300}
    fit_fails("finite.*'audio' of sample 0.*float32 holds", huge, labels)
    half = keras.ops.cast(inputs[VISUAL] * np.inf, "bfloat16")
    fit_fails("finite.*'visual' of sample 0", {**inputs, VISUAL: half}, labels)
    both = {**inputs, VISUAL: inputs[VISUAL].astype("complex64")}
    fit_fails("'visual' must be real numbers.*complex64", both, labels)


def test_a_modality_of_unequal_halves():
    inputs, labels = toy_data(8)
    parts = {"ids": inputs[AUDIO], "mask": inputs[AUDIO][:6]}
    message = "same number of samples.*'audio/ids': 8, 'audio/mask': 6"
    fit_fails(message, {**inputs, AUDIO: parts}, labels)


def test_single_batches_and_evaluation_are_checked_too():
    inputs, labels = toy_data(8)
    distiller = toy_distiller(C2KD())
    before = numpy_weights(distiller)
    wrong = np.where(np.arange(8) == 5, 4, labels)
    for call in (
        distiller.train_on_batch,
        distiller.test_on_batch,
        distiller.evaluate,
    ):
        with pytest.raises(ValueError, match="from 0 to 3.*4 at sample 5"):
            call(inputs, wrong)
    with pytest.raises(ValueError, match="lacks the modality .'audio'"):
        distiller.train_on_batch({VISUAL: inputs[VISUAL]}, labels)
    stream = as_generator(inputs, wrong, 8)
    with pytest.raises(ValueError, match="batch 0: 4 at sample 5"):
        distiller.evaluate(stream, verbose=0)
    assert_same_weights(numpy_weights(distiller), before)


def test_an_empty_data_set():
    torch = pytest.importorskip("torch")
    inputs, labels = toy_data(8)
    nothing = {key: value[:0] for key, value in inputs.items()}
    fit_fails("empty", nothing, labels[:0])
    distiller = toy_distiller(C2KD())
    rows = [({key: value[0] for key, value in inputs.items()}, labels[0])]
    for empty in (
        PairedDataset(inputs, labels, 16),
        as_generator(inputs, labels, 16),
        as_tf_dataset(inputs, labels, 16).take(0),
        torch.utils.data.DataLoader(rows, batch_size=16, drop_last=True),
    ):
        with pytest.raises(ValueError, match="empty"):
            distiller.fit(empty, verbose=0)


def test_unequal_numbers_of_samples():
    inputs, labels = toy_data(8)
    inputs[AUDIO] = inputs[AUDIO][:6]
    fit_fails("same number of samples", inputs, labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [PairedDataset, as_tf_dataset, as_data_loader, as_generator]
)
def test_a_bad_batch_of_a_stream_raises_before_it_is_trained_on(source):
    inputs, labels = toy_data(32)
    inputs[VISUAL][21] = np.nan
    good, bad = toy_distiller(C2KD()), toy_distiller(C2KD())
    bad.set_weights(good.get_weights())
    first = {key: value[:16] for key, value in inputs.items()}
    good.fit(first, labels[:16], shuffle=False, batch_size=16, verbose=0)
    with pytest.raises(Exception, match="'visual' of sample 5"):
        bad.fit(source(inputs, labels, 16), shuffle=False, verbose=0)
    for weight in numpy_weights(bad):
        assert np.isfinite(weight).all()


def test_validation_data_are_checked_too():
    inputs, labels = toy_data(8)
    distiller = toy_distiller(C2KD())
    bad = {VISUAL: inputs[VISUAL] * np.nan}
    with pytest.raises(ValueError, match="finite"):
        distiller.fit(inputs, labels, validation_data=(bad, labels), verbose=0)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_term():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        C2KD(), compile={"optimizer": keras.optimizers.SGD(1e30)}
    )
    with pytest.raises(FloatingPointError, match="student_supervised=nan"):
        distiller.fit(inputs, labels, batch_size=8, epochs=3, verbose=0)


def test_unequal_class_counts():
    with pytest.raises(ValueError, match="equally many classes.*4.*5"):
        toy_distiller(C2KD(), teacher=toy_network(AUDIO, num_classes=5))


def test_teacher_and_student_the_same_object_or_sharing_variables():
    network = toy_network(VISUAL)
    with pytest.raises(ValueError, match="two models.*same object"):
        toy_distiller(C2KD(), student=network, teacher=network)
    view = keras.Model(network.input, network.output)
    with pytest.raises(ValueError, match="not share variables"):
        toy_distiller(C2KD(), student=network, teacher=view)


@pytest.mark.slow
def test_a_softmax_where_logits_are_wanted_and_the_reverse():
    network = toy_network(VISUAL)
    probabilities = keras.Sequential([network, keras.layers.Softmax()])
    probabilities.build((None, *SHAPES[VISUAL]))
    from_logits, from_probabilities = (
        keras.losses.SparseCategoricalCrossentropy(from_logits=flag)
        for flag in (True, False)
    )
    for method, student, loss, message in (
        (C2KD(), probabilities, from_probabilities, "needs logits.*softmax"),
        (Supervised(), probabilities, from_logits, "from_logits=True.*softmax"),
        (C2KD(), None, from_probabilities, "from_logits=False.*logits"),
        (
            C2KD(),
            None,
            "sparse_categorical_crossentropy",
            "from_logits=False.*logits",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            toy_distiller(method, student=student, compile={"loss": loss})
    toy_distiller(
        Supervised(),
        student=probabilities,
        compile={"loss": from_probabilities},
    )


def test_features_of_the_wrong_rank_and_unknown_taps():
    inputs = keras.Input((4, 2, 2, 2, 3))
    x = keras.layers.Dense(3, name="deep")(inputs)
    x = keras.layers.Flatten()(x)
    network = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    with pytest.raises(ValueError, match="student_features:.*proxy head"):
        toy_distiller(C2KD(), student=network, student_features="deep")
    with pytest.raises(ValueError, match="'conv_9' is not a layer.*conv_0"):
        toy_distiller(C2KD(), student_features="conv_9")
    with pytest.raises(ValueError, match="another model"):
        other = toy_network(VISUAL)
        toy_distiller(C2KD(), student_features=other.get_layer("relu_0").output)
    with pytest.raises(ValueError, match="does not read.*'maps'"):
        toy_distiller(C2KD(), student_features={"maps": "relu_0"})


def test_unbuilt_models():
    unbuilt = keras.Sequential([keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="must be built"):
        toy_distiller(C2KD(), student=unbuilt)


def test_a_teacher_that_is_missing_or_has_no_modality():
    with pytest.raises(ValueError, match="C2KD needs a teacher"):
        CrossModalDistiller(
            student=toy_network(VISUAL), student_modality=VISUAL, method=C2KD()
        )
    with pytest.raises(ValueError, match="teacher_modality"):
        CrossModalDistiller(
            student=toy_network(VISUAL),
            teacher=toy_network(AUDIO),
            student_modality=VISUAL,
        )


def test_a_method_of_another_distiller():
    method = C2KD()
    toy_distiller(method)
    with pytest.raises(ValueError, match="Create a new one"):
        toy_distiller(method)


@pytest.mark.parametrize(
    "method, message",
    [
        (FitNet, r"Received: method=<class .*FitNet'> of type.*=FitNet\(\)"),
        ("c2kd", r"a DistillationMethod.*method='c2kd' of type str.*=C2KD\(\)"),
        (KLDivergence(), r"method=.*of type KLDivergence\. Pass an instance"),
        (KLDivergence, r"method=.*of type .*type\. Pass .*method=C2KD\(\)"),
    ],
)
def test_a_method_that_is_no_instance_of_one(method, message):
    with pytest.raises(ValueError, match=message):
        CrossModalDistiller(
            student=toy_network(VISUAL),
            teacher=toy_network(AUDIO),
            student_modality=VISUAL,
            teacher_modality=AUDIO,
            method=method,
        )


@pytest.mark.parametrize("method", [C2KD, KnowledgeDistillation, DKD])
def test_a_selection_that_is_no_instance_of_one(method):
    with pytest.raises(ValueError, match=r"instance: .*=RandomSelection\(\)"):
        method(selection=RandomSelection)
    with pytest.raises(
        ValueError,
        match="a SampleSelection.*selection='kendall' of type str.*=Kendall",
    ):
        method(selection="kendall")
    with pytest.raises(ValueError, match="like=<class.*like=KendallSelection"):
        RandomSelection(like=KendallSelection)


def test_nothing_to_train():
    frozen = toy_network(VISUAL)
    frozen.trainable = False
    with pytest.raises(ValueError, match="student has no trainable"):
        toy_distiller(C2KD(), student=frozen)
    frozen = toy_network(AUDIO)
    frozen.trainable = False
    with pytest.raises(ValueError, match="none of these variables"):
        toy_distiller(C2KD(), teacher=frozen)
    with pytest.raises(ValueError, match="matches none"):
        toy_distiller(
            C2KD(teacher_update="top"), teacher_top_layers=["layer4*"]
        )


def test_compile_without_a_loss_or_with_one_optimizer_twice():
    distiller = toy_distiller(C2KD(), compiled=False)
    with pytest.raises(ValueError, match="supervised loss"):
        distiller.compile("sgd")
    optimizer = keras.optimizers.SGD()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="another object"):
        distiller.compile(optimizer, loss, teacher_optimizer=optimizer)


def test_arguments_of_the_methods():
    with pytest.raises(ValueError, match="teacher_update.*'most'"):
        C2KD(teacher_update="most")
    with pytest.raises(ValueError, match="non_target=True"):
        C2KD(non_target=False, zero_target_logit=True)
    with pytest.raises(ValueError, match="fixed"):
        FitNet(teacher_update="all")
    with pytest.raises(ValueError, match="positive.*temperature=0"):
        KnowledgeDistillation(temperature=0.0)
    with pytest.raises(ValueError, match='"proxy" or "main"'):
        KendallSelection(on="both")


def test_an_unfinished_method_says_what_is_missing():
    class Unfinished(DistillationMethod):
        pass

    inputs, labels = toy_data(8)
    with pytest.raises(NotImplementedError, match="compute_losses"):
        toy_distiller(Unfinished()).train_on_batch(inputs, labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "returned, message",
    [
        (
            lambda loss: ({"student_supervised": loss, "l2": loss}, {}),
            "compute_losses of Custom returned .'l2', 'student_supervised'.; "
            "loss_names says .'student_supervised'..*"
            "loss_names = .'student_supervised', 'l2'.;",
        ),
        (lambda loss: ({}, {}), r"returned \[\]; loss_names says .'student_s"),
        (
            lambda loss: ({"student_supervised": loss}, {"norm": loss}),
            r"returned .'norm'.; diagnostic_names says \[\]",
        ),
        (
            lambda loss: {"student_supervised": loss},
            "two dicts.*one dict with the keys .'student_supervised'.*, {}`",
        ),
        (
            lambda loss: {"student_supervised": loss, "l2": loss},
            "two dicts.*one dict with the keys .'l2', 'student_supervised'.",
        ),
        (lambda loss: ({"student_supervised": loss}, loss), r"tuple of .dict,"),
        (lambda loss: loss, "two dicts.*Received: "),
    ],
)
def test_losses_of_other_names_than_the_method_says(returned, message):
    class Custom(DistillationMethod):
        def compute_losses(self, outputs, targets):
            logits = outputs["student"]["logits"]
            return returned(targets.supervised_loss(logits))

    inputs, labels = toy_data(8)
    distiller = toy_distiller(Custom())

    def trained():
        values = distiller.trainable_variables
        return [keras.ops.convert_to_numpy(value).copy() for value in values]

    before = trained()
    with pytest.raises(ValueError, match=message):
        distiller.fit(inputs, labels, verbose=0)
    # The forward pass was run, so running statistics may have moved.
    assert_same_weights(trained(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [as_tf_dataset, as_data_loader, as_generator, PairedDataset, None]
)
def test_batches_that_are_too_small_for_the_method(source):
    inputs, labels = toy_data(8)
    distiller = toy_distiller(RKD())
    with pytest.raises(Exception, match="at least 3 of them.*batches of 2"):
        if source is None:
            distiller.fit(inputs, labels, batch_size=2, verbose=0)
        else:
            distiller.fit(source(inputs, labels, 2), verbose=0)
    # A small last batch is fine.
    distiller.fit(inputs, labels, batch_size=7, verbose=0)


def multi_hot_data():
    """A batch in which each sample has two classes."""
    inputs, labels = toy_data(16)
    rows = np.zeros((16, 4), "float32")
    rows[np.arange(16), labels] = rows[np.arange(16), (labels + 1) % 4] = 1.0
    return inputs, rows


@pytest.mark.slow
def test_several_classes_a_sample_are_for_plain_supervision():
    inputs, rows = multi_hot_data()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    arguments = {"loss": loss, "metrics": []}
    distiller = toy_distiller(C2KD(), compile=arguments)
    with pytest.raises(ValueError, match=r"sum 1.*several classes a sample"):
        distiller.fit(inputs, rows, verbose=0)
    toy_distiller(Supervised(), compile=arguments).fit(inputs, rows, verbose=0)


def test_a_teacher_optimizer_with_nothing_to_update():
    with pytest.raises(ValueError, match="would update nothing: Knowledge"):
        toy_distiller(
            KnowledgeDistillation(),
            compile={"teacher_optimizer": keras.optimizers.SGD()},
        )


def test_class_weights_of_a_network_whose_classes_are_not_known():
    rules = BatchSpec(required=["visual"], num_classes=None, logits_rank=None)
    rules.check_class_weight({0: 1.0, 9: 2.0})
    for weights in ({-1: 1.0}, {0.5: 1.0}, {0: -1.0}):
        with pytest.raises(ValueError, match="`class_weight` maps classes"):
            rules.check_class_weight(weights)
