"""NYU-Depth V2 as it lies on disk, in small."""

import concurrent.futures
import multiprocessing
import pickle
import shutil
import sys

import h5py
import keras
import numpy as np
import pytest
import scipy.io

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd.data import nyu_depth_v2
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.nyu_depth_v2 import CLASSES
from keras_c2kd.data.nyu_depth_v2 import SCALES
from keras_c2kd.data.nyu_depth_v2 import load_nyu_depth_v2
from keras_c2kd.data.scene_dataset import IGNORED
from keras_c2kd.methods import DML
from tests.data.nyu_file import MAPPED
from tests.data.nyu_file import write_nyu_depth_v2

pytestmark = pytest.mark.backend_free

SIZE = (24, 40)
FRAMES = "nyu_depth_v2_labeled.mat"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("nyu")
    return root, write_nyu_depth_v2(root, size=SIZE)


@pytest.fixture
def root(written):
    return written[0]


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


def load(root, **kwargs):
    kwargs.setdefault("validation_fraction", 0.3)
    return load_nyu_depth_v2(root, crop=kwargs.pop("crop", (16, 16)), **kwargs)


def numbers(dataset):
    return [int(sample.name) for sample in dataset.samples]


def check_frames(root, arrays, depth_source="depths"):
    """Compare every test frame with what MATLAB shows."""
    data = load(root, depth_source=depth_source).test
    inputs, labels = data.batch(range(data.size))
    rows = np.subtract(arrays["testNdxs"], 1)
    colour = inputs["rgb"] * (0.229, 0.224, 0.225) + (0.485, 0.456, 0.406)
    np.testing.assert_allclose(255 * colour, arrays["images"][rows], atol=1e-3)
    depth = arrays[depth_source][rows]
    expected = np.where(depth > 0, (depth - 2.842) / 1.417, 0)
    np.testing.assert_allclose(inputs["depth"][..., 0], expected, atol=1e-5)
    classes = np.concatenate([[0], arrays["mapClass"]]).astype("int32") - 1
    np.testing.assert_array_equal(labels, classes[arrays["labels"][rows]])
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) == {IGNORED, *np.subtract(MAPPED, 1)}


@pytest.mark.parametrize("depth_source", ["depths", "rawDepths"])
def test_frames_are_those_that_matlab_shows(written, depth_source):
    check_frames(*written, depth_source)


def _rotated(stored):
    """What some public readers of this file do: the picture is mirrored."""
    last = np.moveaxis(stored, 0, -1) if stored.ndim == 3 else stored
    return np.rot90(last, axes=(1, 0))


@pytest.mark.parametrize(
    "wrong",
    [_rotated, lambda x: x.T[:, ::-1], lambda x: x.T[::-1]],
    ids=["rotated", "mirrored", "upside_down"],
)
def test_that_test_notices_a_wrong_orientation(written, monkeypatch, wrong):
    right = nyu_depth_v2._Frames.__call__
    monkeypatch.setattr(
        nyu_depth_v2._Frames,
        "__call__",
        lambda self, source: wrong(right(self, source).T),
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_frames(*written)


def test_the_official_split(written):
    root, arrays = written
    data = load(root)
    assert numbers(data.test) == arrays["testNdxs"] == [1, 2, 11, 12]
    chosen, trained = numbers(data.validation), numbers(data.train)
    assert sorted(chosen + trained) == arrays["trainNdxs"]
    assert data.provenance["sizes"] == {"train": 6, "validation": 2, "test": 4}
    assert data.provenance["classes"] == list(CLASSES)
    assert data.provenance["split"] == "official, depths"
    # No scene is in both; the seed is that of training alone.
    scenes = [{arrays["scenes"][n - 1] for n in x} for x in (chosen, trained)]
    assert [len(x) for x in scenes] == [1, 3]
    assert not set.intersection(*scenes)
    assert numbers(load(root, seed=5).validation) == chosen
    assert data.train.batch_size == 16 and load(root, seed=5).train.seed == 5


def test_validation_on_the_test_frames_is_asked_for_by_name(written):
    root, arrays = written
    data = load(root, validate_on="test", validation_fraction=0)
    assert numbers(data.validation) == numbers(data.test)
    assert numbers(data.train) == arrays["trainNdxs"]
    assert data.provenance["split"].endswith("validation on the test part")


def test_small_files_of_both_matlab_versions(written, tmp_path):
    root, arrays = written
    new = write_nyu_depth_v2(tmp_path, size=SIZE, small_files="7.3")
    np.testing.assert_array_equal(new["images"], arrays["images"])
    check_frames(tmp_path, new)
    first, second = load(root), load(tmp_path)
    for data in (first, second):
        data.prepare(verbose=0)
    assert first.provenance == second.provenance
    assert len(first.provenance["fingerprint"]) == 16


def test_another_mapping_is_another_data_set(root, copy):
    mapping = scipy.io.loadmat(copy / "classMapping40.mat")["mapClass"]
    mapping[0, 500] = 41 - mapping[0, 500]
    scipy.io.savemat(copy / "classMapping40.mat", {"mapClass": mapping})
    assert load(copy).train.fingerprint() != load(root).train.fingerprint()


def test_training_is_augmented_as_documented(root):
    data = load(root, crop=(30, 30), validate_on="test", batch_size=8).train
    padded, batches = set(), []
    for _ in range(12):
        inputs, labels = data[0]
        batches.append(labels)
        assert inputs["rgb"].shape == (8, 30, 30, 3)
        assert inputs["depth"].shape == (8, 30, 30, 1)
        for label, depth in zip(labels, inputs["depth"]):
            rows = (label != IGNORED).any(axis=1).sum()
            assert (depth[rows:] == 0).all()
            padded.add(int(rows))
        data.on_epoch_end()
    # 24 rows times 0.5 to 2.0, at most the crop's.
    assert padded <= {min(round(24 * scale), 30) for scale in SCALES}
    assert len(padded) > 4 and SCALES[0] == 0.5 and SCALES[-1] == 2.0
    assert len({labels.tobytes() for labels in batches}) == 12


def test_options_reach_the_views(root):
    data = load(
        root,
        evaluation_size=(32, 40),
        depth_channels=3,
        depth_encoding="disparity",
        scales=(1.0,),
        mirror=False,
        crop=SIZE,
    )
    inputs, labels = data.test[0]
    assert inputs["depth"].shape == (4, 32, 40, 3)
    assert (labels[:, 24:] == IGNORED).all()
    plain = load(root).test[0][0]["depth"][..., 0] * 1.417 + 2.842
    np.testing.assert_allclose(
        inputs["depth"][:, :24, :, 2], (1 / plain - 0.44) / 0.219, atol=1e-4
    )
    # Nothing is drawn: training sees the frames of evaluation.
    sample = data.train.batch([0])[0]["rgb"]
    whole = data.train.evaluation().batch([0])[0]["rgb"][:, :24]
    np.testing.assert_allclose(sample, whole, atol=1e-6)
    for scale_depth, factor in ((True, 2), (False, 1)):
        scaled = load(
            root,
            scales=(2.0,),
            mirror=False,
            crop=(48, 80),
            scale_depth=scale_depth,
        ).train
        large = scaled.batch([0])[0]["depth"][0, ::2, ::2, 0]
        small = scaled.evaluation().batch([0])[0]["depth"][0, ..., 0]
        np.testing.assert_allclose(
            (large * 1.417 + 2.842) * factor, small * 1.417 + 2.842, rtol=1e-5
        )


def test_a_prepared_cache_is_all_that_training_reads(
    root, tmp_path, monkeypatch
):
    plain = load(root, batch_size=3).train[0]
    data = load(root, cache=tmp_path, batch_size=3)
    data.prepare(verbose=0)
    assert len(list(tmp_path.rglob("*.npy"))) == 12 * 3

    def refuse(*arguments):
        raise RuntimeError("The file was read again.")

    monkeypatch.setattr(h5py, "File", refuse)
    cached = data.train[0]
    for one, other in zip(
        keras.tree.flatten(plain), keras.tree.flatten(cached)
    ):
        np.testing.assert_array_equal(one, other)


def test_only_what_is_selected_is_read(root, monkeypatch):
    read = nyu_depth_v2._Frames.__call__
    keys = []

    def counted(self, source):
        keys.append(self.key)
        return read(self, source)

    monkeypatch.setattr(nyu_depth_v2._Frames, "__call__", counted)
    data = load(root, depth_source="rawDepths").test
    data.select(["depth"]).batch([0])
    assert keys == ["rawDepths", "labels"]


def _first_labels(dataset):
    return dataset[0][1]


@pytest.mark.slow
@pytest.mark.every_backend
def test_threads_processes_and_pickles(root):
    """No open file is shared: all read the same, before and after."""
    data = load(root).train
    expected = _first_labels(data)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_first_labels, [data] * 8))
    # Other backends have threads of their own, which a fork may hang.
    if keras.backend.backend() == "torch":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found += pool.map_async(_first_labels, [data] * 2).get(60)
    found.append(_first_labels(pickle.loads(pickle.dumps(data))))
    for labels in found:
        np.testing.assert_array_equal(labels, expected)


def test_missing_files_and_where_they_come_from(tmp_path):
    with pytest.raises(ValueError) as caught:
        load(tmp_path)
    for part in (
        str(tmp_path),
        "nyu_depth_v2_labeled.mat (the labelled part",
        "cs.nyu.edu/~silberman",
        "splits.mat (the official split",
        "classMapping40.mat (894 labels to 40 classes",
    ):
        assert part in str(caught.value)


def test_a_file_that_is_not_whole(copy):
    path = copy / FRAMES
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="whole MATLAB 7.3.*Download it again"):
        load(copy)


def test_a_frame_that_is_damaged_is_listed(copy):
    path = copy / FRAMES
    with h5py.File(path, "r") as file:
        chunk = file["depths"].id.get_chunk_info(2)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(bytes(40))
    data = load(copy, validate_on="test")
    with pytest.raises(MediaError, match="no frame 3 of 'depths'"):
        data.train.batch(range(data.train.size))
    with pytest.raises(
        ValueError, match="(?s)At most 1.0%.*no frame 3.*'0003'"
    ):
        data.prepare(verbose=0)
    assert numbers(data.train) == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("key", "number", "message"),
    [
        ("labels", 895, "labels from .* to 895, which go from 0 to 894"),
        ("depths", np.inf, "a depth of NaN or infinity"),
    ],
)
def test_a_frame_with_impossible_numbers_is_listed(copy, key, number, message):
    def change(array):
        array[2, 3, 4] = number
        return array

    _change(copy / FRAMES, key, change)
    data = load(copy, validate_on="test")
    with pytest.raises(ValueError, match=f"(?s)At most.*{message}.*'0003'"):
        data.prepare(verbose=0)


def _change(path, key, change):
    with h5py.File(path, "a") as file:
        array = change(file[key][()])
        del file[key]
        if array is not None:
            file[key] = array


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("rawDepths", lambda x: None, r"without \['rawDepths'\]"),
        ("labels", lambda x: x[:-1], r"'labels': \(11, 40, 24\)"),
        ("images", lambda x: x.transpose(0, 2, 3, 1), r"\(12, 40, 24, 3\)"),
        ("scenes", lambda x: x[:, :-1], "11 scenes for 12 frames"),
        ("labels", lambda x: x.astype(float), r"\['u', 'f', 'f'\]"),
        ("scenes", lambda x: np.zeros(12), "cannot be read"),
    ],
)
def test_files_that_do_not_fit(copy, key, change, message):
    _change(copy / FRAMES, key, change)
    with pytest.raises(ValueError, match=message):
        load(copy, depth_source="rawDepths")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classMapping40.mat", {"mapClass": [[1] * 893]}, "893 numbers from 1"),
        (
            "classMapping40.mat",
            {"mapClass": [[41] * 894]},
            "894 numbers from 41",
        ),
        ("classMapping40.mat", {"mapClass": []}, "0 numbers from None"),
        ("classMapping40.mat", {"mapClass": [[1.5] * 894]}, "whole numbers"),
        ("splits.mat", {"trainNdxs": [np.nan], "testNdxs": [1]}, "whole num"),
        ("classMapping40.mat", {"other": [1]}, "with 'mapClass'.*KeyError"),
        ("classMapping40.mat", None, "MATLAB file with 'mapClass'"),
        ("splits.mat", {"trainNdxs": [1], "testNdxs": [1]}, "1 different ones"),
        ("splits.mat", {"trainNdxs": [0], "testNdxs": [1]}, "from 0 to 1,"),
        ("splits.mat", {"trainNdxs": [1], "testNdxs": [13]}, "from 1 to 13,"),
        ("splits.mat", {"trainNdxs": [1]}, "with 'testNdxs'.*KeyError"),
    ],
)
def test_small_files_that_do_not_fit(copy, name, content, message):
    if content is None:
        (copy / name).write_bytes(b"nothing")
    else:
        scipy.io.savemat(copy / name, content)
    with pytest.raises(ValueError, match=message):
        load(copy)


def test_bad_arguments(root):
    for arguments, message in (
        ({"validate_on": "train"}, "validate_on='train'"),
        ({"depth_source": "depth"}, "depth_source='depth'"),
        ({"depth_encoding": "hha"}, "'hha'"),
        ({"validation_fraction": 0}, "validation_fraction=0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"validation_fraction": 0.01}, "none for validation"),
        ({"crop": (0, 16)}, r"crop=\(0, 16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            load(root, **arguments)
    with pytest.raises(ValueError, match=r"evaluation_size=\(24, 39\)"):
        load(root, evaluation_size=(24, 39)).test[0]


def test_a_missing_reader_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="needs h5py") as caught:
        load(root)
    assert 'pip install -e ".[data]"' in str(caught.value)


def network(modality, channels, size):
    """A class for each pixel, from the colours around it."""
    layers = keras.layers
    inputs = features = keras.Input((*size, channels), name=modality)
    for number in range(2):
        features = layers.Conv2D(16, 3, padding="same")(features)
        features = layers.BatchNormalization(momentum=0.8)(features)
        features = layers.ReLU(name=f"stage_{number}")(features)
    logits = layers.Conv2D(len(CLASSES), 1, name="logits")(features)
    return keras.Model(inputs, logits, name=modality)


def distiller_of(method, size, **kwargs):
    distiller = CrossModalDistiller(
        student=network("depth", 1, size),
        teacher=network("rgb", 3, size),
        student_modality="depth",
        teacher_modality="rgb",
        method=method,
        **kwargs,
    )
    distiller.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        ),
        metrics=[
            keras.metrics.MeanIoU(
                len(CLASSES),
                ignore_class=IGNORED,
                sparse_y_pred=False,
                name="mean_iou",
            )
        ],
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    return distiller


@pytest.mark.slow
def test_a_pair_learns_from_the_cache(root, tmp_path):
    data = load(
        root,
        crop=None,
        evaluation_size=(24, 48),
        cache=tmp_path,
        batch_size=6,
        scales=(0.8, 1.0, 1.2),
    )
    distiller = distiller_of(
        C2KD(),
        (24, 48),
        student_features="stage_1",
        teacher_features="stage_1",
    )
    distiller.fit(data.train, epochs=10, verbose=0, shuffle=False)
    logs = distiller.evaluate(data.test, return_dict=True, verbose=0)
    assert logs["mean_iou"] > 0.5
    assert logs["teacher_mean_iou"] > 0.7


@pytest.mark.slow
@pytest.mark.every_backend
def test_networks_of_any_size_train_on_crops(root):
    """Without heads; they are tested on whole frames."""
    data = load(root, crop=(16, 16), batch_size=6)
    distiller = distiller_of(DML(), (None, None))
    history = distiller.fit(
        data.train,
        epochs=2,
        validation_data=data.validation,
        verbose=0,
        shuffle=False,
    ).history
    assert np.isfinite([history["loss"], history["val_loss"]]).all()
    logits = distiller.predict(data.test.select(["depth"]), verbose=0)
    assert logits.shape == (4, *SIZE, len(CLASSES))
