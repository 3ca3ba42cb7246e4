"""The backend's own trace of some steps is written and can be read."""

import gzip
import json
import re

import keras
import pytest

from keras_c2kd import C2KD
from keras_c2kd import ProfileSteps
from keras_c2kd.methods import Supervised
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

SCOPES = ("student", "teacher", "heads", "losses", "selection", "update")


def fit(folder, method, **kwargs):
    inputs, labels = toy_data(32)
    callback = ProfileSteps(folder, **kwargs)
    toy_distiller(method).fit(
        inputs, labels, batch_size=8, callbacks=[callback], verbose=0
    )


def traced(folder):
    """The numbers of the steps in a trace, and all that it names."""
    if keras.backend.backend() == "torch":
        events = json.loads((folder / "trace.json").read_text())["traceEvents"]
        names = [event["name"] for event in events]
        steps = {int(name[6:]) for name in names if name.startswith("train ")}
        return steps, "\n".join(names)
    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    names = path.read_bytes().decode("latin-1")
    if keras.backend.backend() == "tensorflow":
        return steps_of_an_xplane(path.read_bytes()), names
    (path,) = path.parent.glob("*.trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    steps = [event for event in events if event.get("name") == "train"]
    return {int(event["args"]["step_num"]) for event in steps}, names


def steps_of_an_xplane(content):
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    return {
        stat.int64_value
        for plane in xplane_pb2.XSpace.FromString(content).planes
        for line in plane.lines
        for event in line.events
        if plane.event_metadata[event.metadata_id].name == "train"
        for stat in event.stats
        if plane.stat_metadata[stat.metadata_id].name == "step_num"
    }


@pytest.mark.slow
def test_the_trace_has_the_steps_and_their_parts(tmp_path):
    folder = tmp_path / "traces" / "run"
    fit(folder, C2KD(), first=2, steps=2)
    steps, names = traced(folder)
    assert steps == {2, 3}
    # A span, or a part of the names of operations: `jvp(student)/pool/sum`.
    end = "$" if keras.backend.backend() == "torch" else r"\)?/"
    for scope in SCOPES:
        assert re.search(scope + end, names, re.MULTILINE), scope


@pytest.mark.slow
def test_a_short_training_traces_what_there_is_or_warns(tmp_path):
    fit(tmp_path / "end", Supervised(), first=4, steps=3)
    assert any(path.is_file() for path in (tmp_path / "end").rglob("*"))
    with pytest.warns(UserWarning, match="first=5, 4 steps"):
        fit(tmp_path / "none", Supervised(), first=5)
    assert not (tmp_path / "none").exists()


class FailingData(keras.utils.PyDataset):
    """Four batches and then an error."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 4:
            raise OSError("a file is gone")
        return toy_data(8)


@pytest.mark.slow
def test_a_training_that_fails_leaves_its_trace_and_no_open_one(tmp_path):
    distiller = toy_distiller(Supervised())
    callback = ProfileSteps(tmp_path / "failed", first=2, steps=20)
    # TensorFlow wraps what a data set raises.
    with pytest.raises(Exception, match="a file is gone"):
        distiller.fit(
            FailingData(), callbacks=[callback], shuffle=False, verbose=0
        )
    steps, _ = traced(tmp_path / "failed")
    assert 2 in steps
    fit(tmp_path / "next", Supervised(), first=2, steps=1)
    assert traced(tmp_path / "next")[0] == {2}


@pytest.mark.parametrize("name", ["first", "steps"])
def test_bad_numbers_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        ProfileSteps(tmp_path, **{name: 0})
