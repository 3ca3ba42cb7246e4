"""From a run to its result file, and from result files to a table."""

from keras_c2kd.experiments.results import RunFiles
from keras_c2kd.experiments.results import environment
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.tables import Comparison
from keras_c2kd.experiments.tables import Summary
from keras_c2kd.experiments.tables import compare_methods
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score
from keras_c2kd.experiments.tables import markdown_table
from keras_c2kd.experiments.tables import summarize

__all__ = [
    "Comparison",
    "RunFiles",
    "Summary",
    "compare_methods",
    "environment",
    "format_difference",
    "format_score",
    "markdown_table",
    "summarize",
    "write_atomically",
]
