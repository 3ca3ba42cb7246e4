"""BERT for texts, and its tokens."""

import collections
import re
from collections.abc import Iterable

import keras
import numpy as np

from keras_c2kd.models.named_stages import keras_hub
from keras_c2kd.models.named_stages import named_stages
from keras_c2kd.typing import Array
from keras_c2kd.typing import Network
from keras_c2kd.utils.argument_checks import check_num_classes

# Of BERT's uncased WordPiece vocabulary.
VOCABULARY_SIZE = 30522


def BertBase(
    num_classes: int,
    weights: str | None = None,
    dropout: float = 0.1,
    sequence_length: int | None = None,
    name: str = "bert_base",
) -> Network:
    """BERT-base, uncased, with a classifier on its pooled output.

    KerasHub's network: 12 layers of width 768, 12 heads, 109,482,240
    parameters without the classifier. Layers to tap: `stage_1` to `stage_4`,
    the token vectors `(batch, tokens, 768)` after 3, 6, 9 and 12 layers.

    Args:
        num_classes: Integer, at least 2.
        weights: `None` (default) for random weights, or what KerasHub's
            `from_preset` takes, such as `"bert_base_en_uncased"` (a download)
            or a folder. A preset of another size is taken as it is.
        dropout: Float, fraction of the pooled output that is dropped.
            Defaults to `0.1`.
        sequence_length: Integer, number of tokens of every text, for methods
            that need to know the size of maps or inputs (FitNet, ReviewKD,
            SHAKE, DLB). `None` (default) for texts of any length.
        name: Name of the model.

    Returns:
        `keras.Model` from a dict of `token_ids`, `segment_ids` and
        `padding_mask`, int32 `(batch, tokens)` each (see `BertTokens`), to
        logits `(batch, num_classes)`.

    Raises:
        ValueError: If there are fewer than 2 classes, or fewer than 4 layers
            in the preset.
        ImportError: If KerasHub is not installed (extra `hub`).

    Example:
    >>> network = BertBase(num_classes=5, sequence_length=8)
    >>> network.output_shape
    (None, 5)
    >>> network.get_layer("stage_4").output.shape
    (None, 8, 768)

    Reference: Devlin et al., NAACL 2019; Huo et al., CVPR 2024, section 4.1.
    """
    check_num_classes(num_classes)
    backbone = keras_hub().models.BertBackbone
    if weights is None:
        network = backbone(
            vocabulary_size=VOCABULARY_SIZE,
            num_layers=12,
            num_heads=12,
            hidden_dim=768,
            intermediate_dim=3072,
        )
    else:
        network = backbone.from_preset(weights)
    return _classifier(network, num_classes, dropout, sequence_length, name)


def bert_layout_map(
    device_mesh: keras.distribution.DeviceMesh, model_axis: str = "model"
) -> keras.distribution.LayoutMap:
    """Return how `BertBase` is divided among devices, on JAX.

    For networks that do not fit on one device. As in Megatron-LM: attention
    by heads, the feed-forward layers by their inner width, embeddings by
    their width; everything else is on each device.

    Args:
        device_mesh: `keras.distribution.DeviceMesh`. Heads and widths must be
            multiples of its size along `model_axis`.
        model_axis: Name of its axis along which the network is divided.
            Defaults to `"model"`.

    Returns:
        `keras.distribution.LayoutMap`.

    Raises:
        ValueError: If the mesh has no such axis.

    Example:
    >>> mesh = keras.distribution.DeviceMesh(
    ...     (1, 1), ("batch", "model"), devices=["cpu:0"]
    ... )
    >>> layouts = bert_layout_map(mesh)
    >>> layouts["bert/layer_0/query/kernel"].axes
    (None, 'model', None)

    On four devices, for two parts of the batch and two of the network:
    ```python
    mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"))
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=models.bert_layout_map(mesh), batch_dim_name="batch"
        )
    )
    # Networks and distiller are built after it.
    ```

    Reference: Shoeybi et al., "Megatron-LM", 2019, section 3.
    """
    if model_axis not in device_mesh.axis_names:
        raise ValueError(
            "The network is divided along an axis of the mesh. Received: "
            f"model_axis={model_axis!r}, and a mesh with the axes "
            f"{list(device_mesh.axis_names)}"
        )
    layouts = keras.distribution.LayoutMap(device_mesh)
    layouts[".*_embedding/embeddings"] = (None, model_axis)
    layouts[".*/(query|key|value)/kernel"] = (None, model_axis, None)
    layouts[".*/(query|key|value)/bias"] = (model_axis, None)
    layouts[".*/attention_output/kernel"] = (model_axis, None, None)
    layouts[".*/feedforward_intermediate_dense/kernel"] = (None, model_axis)
    layouts[".*/feedforward_intermediate_dense/bias"] = (model_axis,)
    layouts[".*/feedforward_output_dense/kernel"] = (model_axis, None)
    return layouts


def SmallTextNet(
    num_classes: int,
    width: int = 32,
    sequence_length: int | None = None,
    name: str = "small_text_net",
) -> Network:
    """Embedded tokens and four convolutions over them; for trials on a CPU.

    It reads what `BertBase` reads. Layers to tap as there: `stage_1` to
    `stage_4`, `(batch, tokens, width)`, and `pool`.

    Args:
        num_classes: Integer, at least 2.
        width: Integer, channels of all stages. Defaults to `32`.
        sequence_length: As for `BertBase`.
        name: Name of the model.

    Returns:
        `keras.Model` to logits `(batch, num_classes)`.

    Raises:
        ValueError: If there are fewer than 2 classes.

    Example:
    >>> network = SmallTextNet(num_classes=5, width=2, sequence_length=8)
    >>> network.output_shape
    (None, 5)
    """
    check_num_classes(num_classes)
    layers = keras.layers
    inputs = _token_inputs(sequence_length)
    # Not `[..., None]`, for which LiteRT would need TensorFlow's kernels.
    mask = keras.ops.expand_dims(
        keras.ops.cast(inputs["padding_mask"], "float32"), -1
    )
    maps = layers.Embedding(VOCABULARY_SIZE, width)(inputs["token_ids"])
    maps = maps + layers.Embedding(2, width)(inputs["segment_ids"])
    for number in (1, 2, 3, 4):
        maps = layers.Conv1D(width, 3, padding="same", use_bias=False)(
            maps * mask
        )
        # A trial has few steps: the default 0.99 would lag behind.
        maps = layers.BatchNormalization(momentum=0.9)(maps)
        maps = layers.ReLU(name=f"stage_{number}")(maps)
    total = keras.ops.sum(maps * mask, axis=1)
    vector = layers.Identity(name="pool")(
        total / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1.0)
    )
    logits = layers.Dense(num_classes, name="logits")(vector)
    return keras.Model(inputs, logits, name=name)


def _token_inputs(sequence_length: int | None) -> dict[str, keras.KerasTensor]:
    return {
        key: keras.Input((sequence_length,), dtype="int32", name=key)
        for key in ("token_ids", "segment_ids", "padding_mask")
    }


def _classifier(
    network: Network,
    num_classes: int,
    dropout: float,
    sequence_length: int | None,
    name: str,
) -> Network:
    """Name the stages, and put a classifier on the pooled output."""
    depth = network.num_layers
    if depth < 4:
        raise ValueError(
            "The four stages need at least 4 layers. Received: a preset with "
            f"{depth}"
        )
    stages = {
        f"stage_{number}": f"transformer_layer_{depth * number // 4 - 1}"
        for number in (1, 2, 3, 4)
    }
    inputs = None
    if sequence_length is not None:
        inputs = _token_inputs(sequence_length)
    network = named_stages(network, stages, inputs=inputs)
    vector = network.output["pooled_output"]
    vector = keras.layers.Dropout(dropout, name="pool")(vector)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="logits",
    )(vector)
    return keras.Model(network.input, logits, name=name)


def word_vocabulary(
    texts: Iterable[str], largest: int = VOCABULARY_SIZE
) -> list[str]:
    """Return BERT's special tokens and the most frequent words of texts.

    For networks with random weights; those of a preset need its vocabulary.
    Words that are not in it become `[UNK]`.

    Args:
        texts: Sequence of strings.
        largest: Integer, number of tokens at most. Defaults to `30522`.

    Returns:
        List of strings, for the `vocabulary` of `BertTokens`.

    Example:
    >>> word_vocabulary(["Roads are flooded.", "Roads?"])[5:]
    ['roads', '.', '?', 'are', 'flooded']
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    counts = collections.Counter(
        word
        for text in texts
        for word in re.findall(r"\w+|[^\w\s]", text.lower())
    )
    # The most frequent first, equally frequent ones by the alphabet.
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return [*special, *words][:largest]


class BertTokens:
    """Texts to what `BertBase` reads; in the data set, not in the model.

    Args:
        weights: What KerasHub's `from_preset` takes, as for `BertBase`; or
            `None` with a `vocabulary`.
        vocabulary: Path of a WordPiece vocabulary, one token a line, or a
            list of tokens, instead of `weights`.
        sequence_length: Integer, number of tokens of every text: longer ones
            are cut, shorter ones padded. Defaults to `40` (see `CrisisMMD`).
        lowercase: Whether a vocabulary given by itself is uncased. Defaults
            to `True`.

    Raises:
        ValueError: If not exactly one of `weights` and `vocabulary` is given.
        ImportError: If KerasHub is not installed (extra `hub`).

    Example:
    >>> words = word_vocabulary(["roads are flooded"])
    >>> tokens = BertTokens(vocabulary=words, sequence_length=6)
    >>> print(tokens(["Roads are wet"])["token_ids"])
    [[2 7 5 1 3 0]]
    """

    def __init__(
        self,
        weights: str | None = None,
        vocabulary: str | list[str] | None = None,
        sequence_length: int = 40,
        lowercase: bool = True,
    ) -> None:
        if (weights is None) == (vocabulary is None):
            raise ValueError(
                "Tokens need one of `weights` (a preset) and `vocabulary`. "
                f"Received: weights={weights!r}, vocabulary={vocabulary!r}"
            )
        models = keras_hub().models
        if weights is not None:
            tokenizer = models.BertTokenizer.from_preset(weights)
        else:
            tokenizer = models.BertTokenizer(vocabulary, lowercase=lowercase)
        self.sequence_length = sequence_length
        self.vocabulary_size = tokenizer.vocabulary_size()
        self._preprocess = models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=sequence_length
        )

    def __call__(self, texts: Iterable[str]) -> dict[str, Array]:
        """Return `token_ids`, `segment_ids`, `padding_mask` of some texts.

        Args:
            texts: Sequence of strings.

        Returns:
            Dict of int32 arrays `(len(texts), sequence_length)`.
        """
        found = self._preprocess(list(texts))
        return {
            name: np.asarray(keras.ops.convert_to_numpy(array), "int32")
            for name, array in found.items()
        }
