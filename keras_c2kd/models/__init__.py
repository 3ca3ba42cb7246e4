"""The paper's networks: plain Keras models that map a modality to logits."""

from keras_c2kd.models.image_classifiers import MobileNetV2
from keras_c2kd.models.image_classifiers import ResNet18
from keras_c2kd.models.image_classifiers import ResNet50
from keras_c2kd.models.text_classifiers import BertBase
from keras_c2kd.models.text_classifiers import BertTokens

__all__ = ["BertBase", "BertTokens", "MobileNetV2", "ResNet18", "ResNet50"]
