import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import FitNet
from keras_c2kd.models import TimeSeriesNetwork
from tests.helpers.references import random_logits


def shapes_of(model, names):
    return {name: model.get_layer(name).output.shape[1:] for name in names}
