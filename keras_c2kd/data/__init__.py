"""Paired data sets: what the networks see, and where it comes from."""

from keras_c2kd.data.array_cache import ArrayCache
from keras_c2kd.data.av_digits import AVDigits
from keras_c2kd.data.av_digits import load_av_digits
from keras_c2kd.data.ave import load_ave
from keras_c2kd.data.crema_d import load_crema_d
from keras_c2kd.data.crisis_mmd import clean_tweet
from keras_c2kd.data.crisis_mmd import load_crisis_mmd
from keras_c2kd.data.digit_views import load_digit_views
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import FollowEpochs
from keras_c2kd.data.epoch_dataset import hide_labels
from keras_c2kd.data.gaussian_pairs import GaussianFamily
from keras_c2kd.data.gaussian_pairs import load_gaussian_pairs
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.modality_readers import ImageReader
from keras_c2kd.data.modality_readers import NumpyReader
from keras_c2kd.data.modality_readers import TextReader
from keras_c2kd.data.motion_augmentation import MotionAugmentation
from keras_c2kd.data.nyu_depth_v2 import load_nyu_depth_v2
from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.rgbd_scenes import load_rgbd_scenes
from keras_c2kd.data.scene_dataset import ColourReader
from keras_c2kd.data.scene_dataset import DepthReader
from keras_c2kd.data.scene_dataset import LabelReader
from keras_c2kd.data.scene_dataset import SceneDataset
from keras_c2kd.data.scene_dataset import ScenePlacement
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.utd_mhad import load_utd_mhad
from keras_c2kd.data.vggsound import load_vggsound

__all__ = [
    "ArrayCache",
    "AVDigits",
    "AudioReader",
    "ColourReader",
    "DepthReader",
    "EpochDataset",
    "FollowEpochs",
    "FrameReader",
    "GaussianFamily",
    "ImageReader",
    "LabelReader",
    "LogSpectrogram",
    "MediaError",
    "MotionAugmentation",
    "NumpyReader",
    "PairedArrays",
    "PairedDataset",
    "PairedSplits",
    "Sample",
    "SceneDataset",
    "ScenePlacement",
    "Source",
    "TextReader",
    "clean_tweet",
    "hide_labels",
    "load_av_digits",
    "load_ave",
    "load_crema_d",
    "load_crisis_mmd",
    "load_digit_views",
    "load_gaussian_pairs",
    "load_nyu_depth_v2",
    "load_rgbd_scenes",
    "load_utd_mhad",
    "load_vggsound",
]
