"""Which samples may be distilled."""

from keras_c2kd.selection.control_selection import RandomSelection
from keras_c2kd.selection.control_selection import SelectAll
from keras_c2kd.selection.correlation_selection import CosineSelection
from keras_c2kd.selection.correlation_selection import GradientCosineSelection
from keras_c2kd.selection.correlation_selection import KendallSelection
from keras_c2kd.selection.correlation_selection import PearsonSelection
from keras_c2kd.selection.sample_selection import SampleSelection

__all__ = [
    "CosineSelection",
    "GradientCosineSelection",
    "KendallSelection",
    "PearsonSelection",
    "RandomSelection",
    "SampleSelection",
    "SelectAll",
]
