import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd.models import BertBase
from keras_c2kd.models import BertTokens
from keras_c2kd.models import SmallTextNet
from keras_c2kd.models import word_vocabulary

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["roads", "are", "flood", "##ed", "help", "!"]


@pytest.fixture
def preset(tmp_path):
    """A small BERT with its vocabulary, saved as a preset."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(WORDS),
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    backbone.save_to_preset(tmp_path)
    keras_hub.models.BertTokenizer(WORDS, lowercase=True).save_to_preset(
        tmp_path
    )
    return str(tmp_path), backbone


@pytest.mark.one_backend
@pytest.mark.slow
def test_as_many_parameters_as_published():
    model = BertBase(8)
    assert model.count_params() == 109_482_240 + 8 * 769
    shapes = {
        name: model.get_layer(name).output.shape for name in ("stage_1", "pool")
    }
    assert shapes == {"stage_1": (None, None, 768), "pool": (None, 768)}


@pytest.mark.slow
def test_tokens_and_weights_of_a_preset(preset):
    folder, backbone = preset
    tokens = BertTokens(folder, sequence_length=8)
    assert tokens.vocabulary_size == len(WORDS)
    found = tokens(["Roads are FLOODED!", "help help help help help help help"])
    assert {array.shape for array in found.values()} == {(2, 8)}
    np.testing.assert_array_equal(
        found["token_ids"],
        [[2, 5, 6, 7, 8, 10, 3, 0], [2, 9, 9, 9, 9, 9, 9, 3]],
    )
    np.testing.assert_array_equal(found["padding_mask"].sum(axis=1), [7, 8])
    by_list = BertTokens(vocabulary=WORDS, sequence_length=8)
    again = by_list(["Roads are FLOODED!"])
    np.testing.assert_array_equal(again["token_ids"], found["token_ids"][:1])

    model = BertBase(3, weights=folder)
    expected = backbone.predict(found, verbose=0)["pooled_output"]
    pool = keras.Model(model.input, model.get_layer("pool").output)
    np.testing.assert_allclose(
        pool.predict(found, verbose=0), expected, atol=1e-5
    )
    assert model.predict(found, verbose=0).shape == (2, 3)
    behind = [
        model.get_layer(f"stage_{number}").input._keras_history.operation.name
        for number in (1, 2, 3, 4)
    ]
    assert behind == [f"transformer_layer_{number}" for number in range(4)]
    # Padding changes nothing.
    longer = BertTokens(folder, sequence_length=12)(["Roads are FLOODED!"])
    np.testing.assert_allclose(
        model.predict(longer, verbose=0)[0],
        model.predict(found, verbose=0)[0],
        atol=1e-5,
    )


@pytest.mark.slow
def test_saves_and_loads(preset, tmp_path):
    model = BertBase(3, weights=preset[0])
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    found = BertTokens(preset[0], sequence_length=6)(["help !"])
    np.testing.assert_allclose(
        copy.predict(found, verbose=0),
        model.predict(found, verbose=0),
        atol=1e-6,
    )


def test_the_network_for_trials_reads_the_same(tmp_path):
    model = SmallTextNet(3)
    tokens = BertTokens(vocabulary=WORDS, sequence_length=6)
    logits = model.predict(tokens(["help !"]), verbose=0)
    assert logits.shape == (1, 3)
    shapes = {
        name: model.get_layer(name).output.shape
        for name in ("stage_1", "stage_4", "pool")
    }
    assert shapes == {
        "stage_1": (None, None, 32),
        "stage_4": (None, None, 32),
        "pool": (None, 32),
    }
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        copy.predict(tokens(["help !"]), verbose=0), logits, atol=1e-6
    )


@pytest.mark.slow
def test_texts_of_a_known_length(preset):
    """Stages of a known size; the same logits as without it."""
    found = BertTokens(preset[0], sequence_length=7)(["help !", "roads are"])
    for build in (
        lambda length: BertBase(3, preset[0], sequence_length=length),
        lambda length: SmallTextNet(3, sequence_length=length),
    ):
        model, other = build(7), build(None)
        other.set_weights(model.get_weights())
        sizes = {x.shape for x in model.input.values()}
        assert sizes == {(None, 7)}
        for number in (1, 2, 3, 4):
            stage = model.get_layer(f"stage_{number}")
            assert stage.output.shape[:2] == (None, 7)
        np.testing.assert_allclose(
            model.predict(found, verbose=0),
            other.predict(found, verbose=0),
            atol=1e-5,
        )


def test_a_vocabulary_of_words():
    texts = ["Roads roads, help!", "help the roads", "the"]
    words = word_vocabulary(texts)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert words == [*special, "roads", "help", "the", "!", ","]
    assert word_vocabulary(texts, largest=6) == [*special, "roads"]
    tokens = BertTokens(vocabulary=words, sequence_length=7)
    ids = tokens(["Help, ROADS unknown"])["token_ids"][0]
    assert ids.tolist() == [2, 6, 9, 5, 1, 3, 0]


def test_bad_arguments(preset):
    with pytest.raises(ValueError, match="num_classes=1"):
        SmallTextNet(1)
    with pytest.raises(ValueError, match="num_classes=1"):
        BertBase(1)
    with pytest.raises(ValueError, match="one of `weights`.*and `vocabulary`"):
        BertTokens()
