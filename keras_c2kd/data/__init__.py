"""Paired data sets: what the networks see, and where it comes from."""

from keras_c2kd.data.av_digits import AVDigits
from keras_c2kd.data.av_digits import load_av_digits

__all__ = ["AVDigits", "load_av_digits"]
