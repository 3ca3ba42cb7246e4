"""What happened during training, measured and drawn."""

from keras_c2kd.analysis.figures import plot_comparison
from keras_c2kd.analysis.figures import plot_training_dynamics
from keras_c2kd.analysis.mini_batch_cka import MiniBatchCKA
from keras_c2kd.analysis.rank_distortion import RankDistortion

__all__ = [
    "MiniBatchCKA",
    "RankDistortion",
    "plot_comparison",
    "plot_training_dynamics",
]
