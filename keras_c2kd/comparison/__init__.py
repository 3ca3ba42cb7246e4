"""The comparison of methods on one's own pairs."""

from keras_c2kd.comparison.candidates import METHODS
from keras_c2kd.comparison.candidates import Candidate
from keras_c2kd.comparison.candidates import RunContext
from keras_c2kd.comparison.command_line import run_recipe
from keras_c2kd.comparison.compare import compare
from keras_c2kd.comparison.compare import make_plan
from keras_c2kd.comparison.compare import run_plan
from keras_c2kd.comparison.default_networks import image_networks
from keras_c2kd.comparison.default_networks import segmentation_networks
from keras_c2kd.comparison.default_networks import text_networks
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.plan import Run
from keras_c2kd.comparison.processes import Engine
from keras_c2kd.comparison.recipe import Recipe
from keras_c2kd.comparison.result import ComparisonResult
from keras_c2kd.comparison.training import DenseTraining
from keras_c2kd.comparison.training import PaperTraining
from keras_c2kd.comparison.training import Training
from keras_c2kd.comparison.training import setting

__all__ = [
    "METHODS",
    "Candidate",
    "ComparisonResult",
    "DenseTraining",
    "Engine",
    "PaperTraining",
    "Plan",
    "Recipe",
    "Run",
    "RunContext",
    "Training",
    "compare",
    "image_networks",
    "make_plan",
    "run_plan",
    "run_recipe",
    "segmentation_networks",
    "setting",
    "text_networks",
]
