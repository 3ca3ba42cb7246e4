"""The examples of CONTRIBUTING.md run, and its table of rooms is right."""

import pathlib
import re

import keras
import numpy as np
import pytest

from tests.helpers import method_contract
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.project.test_imports import MAY_IMPORT

TEXT = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def names():
    """What the Python blocks define, one after the other."""
    names = {"__name__": "contributing"}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    return names


@pytest.mark.backend_free
def test_the_table_of_rooms_is_what_the_imports_are_held_to():
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (.*) \|$", TEXT, re.MULTILINE)
    table = {room: set(re.findall(r"`([\w.]+)`", last)) for room, last in rows}
    assert table.pop("comparison") == set()
    assert table == {r: may - {"typing"} for r, may in MAY_IMPORT.items()}


def test_the_tests_of_the_loss(names):
    tests = [names[name] for name in names if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()


def test_the_selection(names):
    teacher = np.array([[2.0, 0.0], [2.0, 0.0]], "float32")
    selected, _ = names["CorrectTeacher"]()(teacher, teacher, np.array([0, 1]))
    assert keras.ops.convert_to_numpy(selected).tolist() == [1.0, 0.0]


def test_the_method(names, tmp_path):
    create = names["ProbabilityMatching"]
    distiller = toy_distiller(create(weight=0.5))
    method_contract.run_quickly(distiller)
    method_contract.check_first_step(distiller)
    method_contract.check_saves_and_resumes(distiller, tmp_path)
    inputs, labels = toy_data(4)
    distiller = toy_distiller(
        method_contract.C2KD(
            selection=names["CorrectTeacher"](),
            divergence=names["ProbabilityDistance"](),
        )
    )
    method_contract.run_quickly(distiller)
    assert np.isfinite(distiller.train_on_batch(inputs, labels)).all()


def test_the_reader_and_the_data_set(names, tmp_path):
    random = np.random.default_rng(0)
    for key in names["KEYS"]:
        (tmp_path / key).mkdir()
        for name in ("0_a", "1_a", "0_b", "1_b"):
            motion = random.normal(size=(70, 3))
            np.save(tmp_path / key / f"{name}.npy", motion)
    for part, listed in zip(names["PARTS"], ("0_a\n1_a\n", "0_b\n", "1_b\n")):
        (tmp_path / f"{part}.txt").write_text(listed)
    splits = names["load_motion"](tmp_path, batch_size=2)
    splits.prepare(verbose=0)
    inputs, labels = splits.train[0]
    assert sorted(labels) == [0, 1]
    assert {k: v.shape for k, v in inputs.items()} == dict.fromkeys(
        names["KEYS"], (2, 64, 3)
    )
    inputs, labels = splits.test[0]
    motion = np.load(tmp_path / "ankle" / "1_b.npy")[3:67]
    np.testing.assert_allclose(inputs["ankle"][0], motion, rtol=1e-6)
    assert labels.tolist() == [1]
    np.save(tmp_path / "wrist" / "1_b.npy", motion[:5])
    with pytest.raises(names["MediaError"], match="less than 64 steps"):
        names["load_motion"](tmp_path).test[0]
