import zipfile

import keras
import pytest

from keras_c2kd import C2KD
from keras_c2kd import KnowledgeDistillation
from keras_c2kd.selection import RandomSelection
from tests.helpers.method_contract import contract_cases
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


def network_with_dropout(modality):
    network = toy_network(modality)
    x = keras.layers.Dropout(0.5, seed=4)(network.get_layer("pool").output)
    return keras.Model(network.input, keras.layers.Dense(4, name="out")(x))


def distiller_with_randomness(teacher_optimizer=False):
    return toy_distiller(
        C2KD(selection=RandomSelection()),
        student=network_with_dropout(VISUAL),
        teacher=network_with_dropout(AUDIO),
        compile={
            "optimizer": keras.optimizers.Adam(1e-3),
            "teacher_optimizer": keras.optimizers.SGD(
                keras.optimizers.schedules.PolynomialDecay(1e-2, 20, power=0.9),
                momentum=0.9,
            )
            if teacher_optimizer
            else None,
        },
    )


def fit(distiller, epochs, **kwargs):
    inputs, labels = toy_data(64)
    return distiller.fit(
        inputs,
        labels,
        batch_size=16,
        shuffle=False,
        verbose=0,
        epochs=epochs,
        **kwargs,
    ).history


@pytest.mark.slow
@pytest.mark.parametrize("teacher_optimizer", [False, True])
def test_a_reloaded_distiller_goes_on_as_if_nothing_had_happened(
    tmp_path, teacher_optimizer
):
    distiller = distiller_with_randomness(teacher_optimizer)
    fit(distiller, 1)
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    assert copy.compiled and copy.loss is not None
    assert type(copy.optimizer) is type(distiller.optimizer)
    assert fit(copy, 2) == fit(distiller, 2)
    assert_same_weights(copy, distiller)


@pytest.mark.slow
def test_backup_and_restore_resumes_to_the_same_weights(tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    whole = distiller_with_randomness()
    broken = distiller_with_randomness()
    resumed = distiller_with_randomness()
    for other in (broken, resumed):
        other.set_weights(whole.get_weights())
    fit(whole, 4)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(broken, 4, callbacks=[backup, Crash()])
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    fit(resumed, 4, callbacks=[backup])
    assert_same_weights(resumed, whole)


@pytest.mark.slow
def test_model_checkpoint_on_the_students_metric(tmp_path):
    inputs, labels = toy_data(64)
    distiller = toy_distiller(C2KD())
    path = tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="val_accuracy", mode="max", save_best_only=True
    )
    alone = {VISUAL: inputs[VISUAL]}
    history = fit(
        distiller, 3, callbacks=[checkpoint], validation_data=(alone, labels)
    )
    best = keras.models.load_model(path)
    logs = best.evaluate(alone, labels, verbose=0, return_dict=True)
    assert logs["accuracy"] == pytest.approx(max(history["val_accuracy"]))


@pytest.mark.slow
def test_the_student_is_saved_as_the_plain_model_it_was(tmp_path):
    distiller = toy_distiller(C2KD(), student_features="relu_0")
    fit(distiller, 1)
    distiller.student.save(tmp_path / "visual.keras")
    loaded = keras.models.load_model(tmp_path / "visual.keras")
    assert type(loaded) is type(toy_network(VISUAL))
    assert_same_weights(loaded, distiller.student)
    assert len(loaded.weights) == len(toy_network(VISUAL).weights)


def test_taps_given_as_tensors_are_saved_as_paths(tmp_path):
    student = toy_network(VISUAL)
    distiller = toy_distiller(
        KnowledgeDistillation(), student=student, compiled=True
    )
    assert distiller.get_config()["student_features"] is None
    student = toy_network(VISUAL)
    distiller = toy_distiller(
        C2KD(),
        student=student,
        student_features=student.get_layer("relu_0").output,
        teacher_features=lambda model: model.get_layer("bn_1").output,
    )
    config = distiller.get_config()
    assert config["student_features"] == {"features": "relu_0"}
    assert config["teacher_features"] == {"features": "bn_1"}
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    assert copy.get_config()["student_features"] == config["student_features"]


# Where the classes of a file were when it was written.
FORMER_MODULES = {
    "keras_c2kd.distiller.cross_modal_distiller": (
        "keras_c2kd.cross_modal_distiller"
    ),
    "keras_c2kd.models.named_stages": "keras_c2kd.models.keras_hub",
}


@pytest.mark.parametrize("method", ["c2kd", "dlb", "shake_own", "ogm_ge"])
def test_a_file_from_before_the_modules_moved(method, tmp_path):
    inputs, labels = toy_data(32)
    distiller = toy_distiller(contract_cases[method]())
    distiller.fit(inputs, labels, batch_size=32, verbose=0)
    distiller.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                text = content.decode()
                for now, before in FORMER_MODULES.items():
                    text = text.replace(now, before)
                assert "keras_c2kd.cross_modal_distiller" in text
                content = text.encode()
            old.writestr(name, content)
    copy = keras.models.load_model(tmp_path / "old.keras")
    assert_same_weights(copy, distiller)
    assert copy.get_config().keys() == distiller.get_config().keys()
    copy.fit(inputs, labels, batch_size=32, verbose=0)
