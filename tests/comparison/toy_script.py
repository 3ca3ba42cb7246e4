"""A user's script: `toy_script.py FOLDER PROCESSES [ENGINE]`."""

import os
import sys

import keras_c2kd
from keras_c2kd.comparison import Engine
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import make_plan
from keras_c2kd.comparison import run_plan
from tests.comparison.toy_pairs import NETWORKS
from tests.comparison.toy_pairs import toy_pairs


class InTheScript(keras_c2kd.KnowledgeDistillation):
    """Other processes cannot import it: it is in `__main__`."""

    def compute_losses(self, outputs, targets):
        if os.environ.get("KILL_ME") and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), 9)
        return super().compute_losses(outputs, targets)


if __name__ == "__main__":
    folder, processes = sys.argv[1], int(sys.argv[2])
    plan = make_plan(
        toy_pairs(),
        NETWORKS,
        "wrist",
        ["dml", InTheScript],
        seeds=2,
        training=Training(epochs=6, learning_rate=0.05),
    )
    engine = sys.argv[3] if len(sys.argv) > 3 else "local"
    result = run_plan(
        plan, folder, Engine(processes, kind=engine), least_seconds=0.0
    )
    result.to_csv(os.path.join(folder, "table.csv"))
