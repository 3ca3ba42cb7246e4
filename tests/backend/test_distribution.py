import keras
import pytest

import keras_c2kd
from keras_c2kd.backend import distribution
from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DLB
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.selection import RandomSelection
from keras_c2kd.utils.shared_context import SharedContext
from tests.helpers.docstrings import run_example
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller


def test_a_shared_context_lasts_from_the_first_to_the_last():
    seen = []
    context = SharedContext(lambda: seen.append("in") or 7, seen.append)
    with context:
        with context:
            assert seen == ["in"]
        assert seen == ["in"]
    assert seen == ["in", 7]
    with pytest.raises(KeyError), context:
        raise KeyError
    assert seen == ["in", 7, "in", 7]


def test_there_must_be_a_device():
    with pytest.raises(ValueError, match="at least one device.*devices=0"):
        keras_c2kd.distribute(0)


def test_more_devices_than_there_are_are_refused():
    # A CPU that was used is divided no more.
    keras.ops.convert_to_numpy(keras.ops.ones(1) + 1.0)
    with pytest.raises(ValueError, match="(?s)Received.*(99|has 1)"):
        with keras_c2kd.distribute(99):
            raise AssertionError("There are not so many.")


@pytest.mark.slow
def test_one_device_trains_as_without_engine():
    inputs, labels = toy_data(16)

    def train():
        keras.utils.set_random_seed(0)
        distiller = toy_distiller(C2KD())
        return distiller.fit(inputs, labels, verbose=0).history

    plain = train()
    with keras_c2kd.distribute(1):
        inside = train()
    assert inside == plain


def test_losses_that_relate_samples_are_known():
    assert not C2KD().needs_global_batch
    assert not KnowledgeDistillation().needs_global_batch
    assert C2KD(selection=RandomSelection()).needs_global_batch
    assert C2KD(divergence=keras_c2kd.losses.DISTLoss()).needs_global_batch
    assert DLB(batch_size=4).needs_global_batch


def test_jax_normalises_the_batch_as_a_whole(monkeypatch):
    monkeypatch.setattr(distribution, "is_spmd", lambda: True)
    inputs, labels = toy_data(16)
    distiller = toy_distiller(C2KD(), synchronize_batch_norm=False)
    with pytest.raises(ValueError, match="synchronize_batch_norm=False"):
        distiller.fit(inputs, labels, verbose=0)
    assert distiller.get_config()["synchronize_batch_norm"] is False


def test_dlb_needs_equal_parts(monkeypatch):
    distiller = toy_distiller(DLB(batch_size=6))
    monkeypatch.setattr(distribution, "num_replicas", lambda: 4)
    with pytest.raises(ValueError, match="batch_size=6 for 4 devices"):
        distiller.method.run_student(None, toy_data(4)[0]["visual"], {})


@pytest.mark.slow
def test_devices_stay_in_use_when_the_state_is_cleared():
    def is_distributed():
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.distribute.has_strategy()
        return keras.distribution.distribution() is not None

    with keras_c2kd.distribute(1):
        inside = is_distributed()
        # PyTorch's processes are known to PyTorch alone.
        assert inside == (keras.backend.backend() != "torch")
        distribution.clear_session()
        assert is_distributed() == inside
    assert not is_distributed()


@pytest.mark.parametrize(
    "function", [keras_c2kd.distribute, enable_compilation_cache]
)
def test_examples(function):
    run_example(function, **vars(keras_c2kd))
