"""Pure functions in `keras.ops`: the mathematics, backend-free."""

from keras_c2kd.ops.descending_ranks import descending_ranks
from keras_c2kd.ops.exclude_target import exclude_target
from keras_c2kd.ops.exclude_target import non_target_log_softmax
from keras_c2kd.ops.exclude_target import zero_target
from keras_c2kd.ops.feature_maps import adaptive_average_pool
from keras_c2kd.ops.feature_maps import as_map
from keras_c2kd.ops.feature_maps import global_average_pool
from keras_c2kd.ops.feature_maps import map_shape
from keras_c2kd.ops.feature_maps import resize_bilinear
from keras_c2kd.ops.feature_maps import resize_nearest
from keras_c2kd.ops.kendall_rank_correlation import kendall_rank_correlation
from keras_c2kd.ops.kl_divergence import kl_divergence
from keras_c2kd.ops.linear_cka import cka_ratio
from keras_c2kd.ops.linear_cka import hsic_terms
from keras_c2kd.ops.linear_cka import linear_cka
from keras_c2kd.ops.numerics import full_precision
from keras_c2kd.ops.numerics import full_precision_dtype
from keras_c2kd.ops.numerics import safe_divide
from keras_c2kd.ops.similarity import centred
from keras_c2kd.ops.similarity import cosine_similarity
from keras_c2kd.ops.similarity import gradient_cosine
from keras_c2kd.ops.similarity import pearson_correlation
from keras_c2kd.ops.similarity import safe_norm
from keras_c2kd.ops.similarity import unit_vectors
from keras_c2kd.ops.target_log_probabilities import target_log_probabilities

__all__ = [
    "adaptive_average_pool",
    "as_map",
    "centred",
    "cka_ratio",
    "cosine_similarity",
    "descending_ranks",
    "exclude_target",
    "full_precision",
    "full_precision_dtype",
    "global_average_pool",
    "gradient_cosine",
    "hsic_terms",
    "kendall_rank_correlation",
    "kl_divergence",
    "linear_cka",
    "map_shape",
    "non_target_log_softmax",
    "pearson_correlation",
    "resize_bilinear",
    "resize_nearest",
    "safe_divide",
    "safe_norm",
    "target_log_probabilities",
    "unit_vectors",
    "zero_target",
]
