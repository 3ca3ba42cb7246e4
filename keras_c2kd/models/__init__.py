"""The paper's networks: plain Keras models that map a modality to logits."""

from keras_c2kd.models.deeplab_v3_plus import DeepLabV3Plus
from keras_c2kd.models.deeplab_v3_plus import SmallSegmenter
from keras_c2kd.models.image_classifiers import MobileNetV2
from keras_c2kd.models.image_classifiers import ResNet18
from keras_c2kd.models.image_classifiers import ResNet50
from keras_c2kd.models.image_classifiers import SmallConvNet
from keras_c2kd.models.text_classifiers import BertBase
from keras_c2kd.models.text_classifiers import BertTokens
from keras_c2kd.models.text_classifiers import SmallTextNet
from keras_c2kd.models.text_classifiers import bert_layout_map
from keras_c2kd.models.text_classifiers import word_vocabulary
from keras_c2kd.models.time_series_network import TimeSeriesNetwork

__all__ = [
    "BertBase",
    "BertTokens",
    "DeepLabV3Plus",
    "MobileNetV2",
    "ResNet18",
    "ResNet50",
    "SmallConvNet",
    "SmallSegmenter",
    "SmallTextNet",
    "TimeSeriesNetwork",
    "bert_layout_map",
    "word_vocabulary",
]
