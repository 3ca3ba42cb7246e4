"""From a run to its result file, and from result files to a table."""

from keras_c2kd.experiments.command_line import run_recipe
from keras_c2kd.experiments.grid import train_all
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.method_rows import METHOD_ROWS
from keras_c2kd.experiments.method_rows import MethodRow
from keras_c2kd.experiments.method_rows import RunContext
from keras_c2kd.experiments.networks import image_networks
from keras_c2kd.experiments.networks import segmentation_networks
from keras_c2kd.experiments.networks import text_networks
from keras_c2kd.experiments.recipe import DenseTraining
from keras_c2kd.experiments.recipe import Recipe
from keras_c2kd.experiments.recipe import Run
from keras_c2kd.experiments.recipe import Training
from keras_c2kd.experiments.recipe import plan_runs
from keras_c2kd.experiments.report import report
from keras_c2kd.experiments.results import RunFiles
from keras_c2kd.experiments.results import environment
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.resumable import ResumableTraining
from keras_c2kd.experiments.runner import Runner
from keras_c2kd.experiments.segmentation import class_table
from keras_c2kd.experiments.segmentation import illustrate_segmentation
from keras_c2kd.experiments.settings import setting
from keras_c2kd.experiments.tables import Comparison
from keras_c2kd.experiments.tables import Summary
from keras_c2kd.experiments.tables import compare_methods
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score
from keras_c2kd.experiments.tables import markdown_table
from keras_c2kd.experiments.tables import summarize

__all__ = [
    "BASELINE",
    "METHOD_ROWS",
    "Comparison",
    "DenseTraining",
    "MethodRow",
    "Recipe",
    "ResumableTraining",
    "Run",
    "RunContext",
    "RunFiles",
    "Runner",
    "Summary",
    "Training",
    "class_table",
    "compare_methods",
    "environment",
    "format_difference",
    "format_score",
    "illustrate_segmentation",
    "image_networks",
    "markdown_table",
    "plan_runs",
    "report",
    "run_recipe",
    "segmentation_networks",
    "setting",
    "summarize",
    "text_networks",
    "train_all",
    "write_atomically",
]
