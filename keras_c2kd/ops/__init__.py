"""Pure functions in `keras.ops`: the mathematics, backend-free."""

from keras_c2kd.ops.exclude_target import exclude_target
from keras_c2kd.ops.exclude_target import non_target_log_softmax
from keras_c2kd.ops.exclude_target import zero_target
from keras_c2kd.ops.kendall_rank_correlation import kendall_rank_correlation
from keras_c2kd.ops.kl_divergence import kl_divergence
from keras_c2kd.ops.precision import full_precision
from keras_c2kd.ops.precision import full_precision_dtype
from keras_c2kd.ops.similarity import cosine_similarity
from keras_c2kd.ops.similarity import gradient_cosine
from keras_c2kd.ops.similarity import pearson_correlation
from keras_c2kd.ops.similarity import safe_norm

__all__ = [
    "cosine_similarity",
    "exclude_target",
    "full_precision",
    "full_precision_dtype",
    "gradient_cosine",
    "kendall_rank_correlation",
    "kl_divergence",
    "non_target_log_softmax",
    "pearson_correlation",
    "safe_norm",
    "zero_target",
]
