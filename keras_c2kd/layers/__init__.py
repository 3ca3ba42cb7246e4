"""Heads that methods put on the networks."""

from keras_c2kd.layers.batch_normalization import BatchNormalization
from keras_c2kd.layers.convolution_block import ConvolutionBlock
from keras_c2kd.layers.fusion import ConcatFusion
from keras_c2kd.layers.fusion import FiLMFusion
from keras_c2kd.layers.proxy_head import ProxyHead

__all__ = [
    "BatchNormalization",
    "ConcatFusion",
    "ConvolutionBlock",
    "FiLMFusion",
    "ProxyHead",
]
