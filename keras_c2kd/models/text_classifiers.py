"""BERT for texts, and its tokens."""

import keras
import numpy as np

from keras_c2kd.models.keras_hub import keras_hub
from keras_c2kd.models.named_stages import named_stages


def BertBase(num_classes, weights=None, dropout=0.1, name="bert_base"):
    """BERT-base, uncased, with a classifier on its pooled output.

    KerasHub's network: 12 layers of width 768, 12 heads, 109,482,240
    parameters without the classifier. Layers to tap: `stage_1` to `stage_4`,
    the token vectors `(batch, tokens, 768)` after 3, 6, 9 and 12 layers.

    Args:
        num_classes: Integer, at least 2.
        weights: `None` (default) for random weights, or what KerasHub's
            `from_preset` takes, such as `"bert_base_en_uncased"` (a download)
            or a folder. A preset of another size is taken as it is.
        dropout: Float, share of the pooled output that is dropped. Defaults
            to `0.1`.
        name: Name of the model.

    Returns:
        `keras.Model` from a dict of `token_ids`, `segment_ids` and
        `padding_mask`, int32 `(batch, tokens)` each (see `BertTokens`), to
        logits `(batch, num_classes)`.

    Raises:
        ValueError: If there are fewer than 2 classes, or fewer than 4 layers
            in the preset.
        ImportError: If KerasHub is not installed (extra `hub`).

    Reference: Devlin et al., NAACL 2019; Huo et al., CVPR 2024, section 4.1.
    """
    if num_classes < 2:
        raise ValueError(
            "A classifier needs at least 2 classes. "
            f"Received: num_classes={num_classes}"
        )
    backbone = keras_hub().models.BertBackbone
    if weights is None:
        network = backbone(
            vocabulary_size=30522,
            num_layers=12,
            num_heads=12,
            hidden_dim=768,
            intermediate_dim=3072,
        )
    else:
        network = backbone.from_preset(weights)
    depth = network.num_layers
    if depth < 4:
        raise ValueError(
            "The four stages need at least 4 layers. Received: a preset with "
            f"{depth}: {weights!r}"
        )
    stages = {
        f"stage_{number}": f"transformer_layer_{depth * number // 4 - 1}"
        for number in (1, 2, 3, 4)
    }
    network = named_stages(network, stages)
    vector = network.output["pooled_output"]
    vector = keras.layers.Dropout(dropout, name="pool")(vector)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="logits",
    )(vector)
    return keras.Model(network.input, logits, name=name)


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
    >>> tokens = BertTokens("bert_base_en_uncased")
    >>> tokens(["Roads are flooded"])["token_ids"].shape
    (1, 40)
    """

    def __init__(
        self, weights=None, vocabulary=None, sequence_length=40, lowercase=True
    ):
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

    def __call__(self, texts):
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
