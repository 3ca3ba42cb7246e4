"""Two modalities before training, and training itself, measured and drawn."""

from keras_c2kd.analysis.expected_gain import ExpectedGain
from keras_c2kd.analysis.expected_gain import expected_gain
from keras_c2kd.analysis.gap_report import ModalityGap
from keras_c2kd.analysis.gap_rules import GapRules
from keras_c2kd.analysis.mean_iou import MeanIoU
from keras_c2kd.analysis.mini_batch_cka import MiniBatchCKA
from keras_c2kd.analysis.modality_gap import modality_gap
from keras_c2kd.analysis.rank_distortion import RankDistortion

__all__ = [
    "ExpectedGain",
    "GapRules",
    "MeanIoU",
    "MiniBatchCKA",
    "ModalityGap",
    "RankDistortion",
    "expected_gain",
    "modality_gap",
]
