"""CrisisMMD as it lies on disk, in small."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd.data.crisis_mmd import CATEGORIES
from keras_c2kd.data.crisis_mmd import IMAGE
from keras_c2kd.data.crisis_mmd import clean_tweet
from keras_c2kd.data.crisis_mmd import load_crisis_mmd
from keras_c2kd.data.modality_readers import ImageReader

pytestmark = pytest.mark.backend_free

COLUMNS = (
    "event_name tweet_id image_id tweet_text image label label_text "
    "label_image label_text_image"
).split()
SMALL = ImageReader(size=8, stored_side=12, mean=(0.5,) * 3)
WORDS = ["person", "bridge", "wounded", "lost", "cat", "news", "help", "car"]


def tokens(texts):
    """A word is a number, unknown ones are 0."""
    known = {word: number + 1 for number, word in enumerate(WORDS)}
    ids = np.zeros((len(texts), 5), "int32")
    for row, text in zip(ids, texts):
        for place, word in enumerate(text.lower().split()[:5]):
            row[place] = known.get(word, 0)
    return {"token_ids": ids, "padding_mask": (ids > 0).astype("int32")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The category is a word and a grey level."""
    root = tmp_path_factory.mktemp("CrisisMMD_v2.0")
    folder = root / "crisismmd_datasplit_agreed_label"
    folder.mkdir()
    for part, copies in (("train", 4), ("dev", 1), ("test", 1)):
        rows = ["\t".join(COLUMNS)]
        for label, category in enumerate(CATEGORIES):
            for copy in range(copies):
                tweet = f"9177931374259{label}{copy}{len(part)}68"
                image = f"data_image/fires/1_2_2017/{part}{tweet}_0.jpg"
                path = root / image
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((20, 30, 3), 20 + 30 * label, "uint8")
                Image.fromarray(pixels).save(path)
                # A tweet may begin with a quotation mark that never ends.
                text = f'"{WORDS[label]} #fire https://t.co/x'
                names = [category] * 3
                row = ["fires", tweet, f"{tweet}_0", text, image, *names]
                rows.append("\t".join([*row, "Positive"]))
        name = f"task_humanitarian_text_img_agreed_lab_{part}.tsv"
        (folder / name).write_text("\n".join(rows), encoding="utf-8")
    return root


def load(root, **kwargs):
    return load_crisis_mmd(root, tokens, image=SMALL, **kwargs)


def test_the_image_is_what_mobilenet_reads():
    view = IMAGE.view(np.full((1, 300, 400, 3), 255, "uint8"))
    assert view.shape == (224, 224, 3)
    np.testing.assert_allclose(view, 1.0, atol=1e-6)


def test_tweets_are_cleaned():
    for text, expected in (
        ("RT @KAKEnews: Fires! #help http://t.co/abc now", "Fires! help now"),
        ("START of #RT www.x.org", "START of RT"),
        ('"Quoted"   text…', '"Quoted" text…'),
        ("", ""),
    ):
        assert clean_tweet(text) == expected


def test_the_lists(root):
    data = load(root)
    assert data.provenance["sizes"] == {"train": 32, "validation": 8, "test": 8}
    assert data.provenance["split"] == "official, agreed, label"
    # Ids of 18 digits keep all of them.
    assert data.test.samples[1].name == "917793137425910468_0"
    inputs, labels = data.test[0]
    assert labels.tolist() == list(range(8))
    assert inputs["text"]["token_ids"].shape == (8, 5)
    # A quotation mark is text: the word behind it is not known.
    assert data.test.samples[2].sources["text"].startswith('"wounded #fire')
    assert inputs["text"]["token_ids"].tolist() == [[0] * 5] * 8
    grey = inputs["image"][:, 4, 4, 0] * 0.229 + 0.5
    np.testing.assert_allclose(grey, (20 + 30 * labels) / 255, atol=0.02)


def test_missing_images_and_bad_lists(root, tmp_path):
    with pytest.raises(ValueError, match="unpacked beside data_image"):
        load(tmp_path)
    with pytest.raises(ValueError, match="annotations='some'"):
        load(root, annotations="some")
    with pytest.raises(ValueError, match="without .'label_tweet'"):
        load(root, label="label_tweet")
    folder = tmp_path / "crisismmd_datasplit_all"
    folder.mkdir()
    row = ["fires", "1", "1_0", "text", "no.jpg", "fire", "", "", ""]
    path = folder / "task_humanitarian_text_img_train.tsv"
    path.write_text("\t".join(COLUMNS) + "\n" + "\t".join(row))
    with pytest.raises(ValueError, match="'fire' in row 2"):
        load(tmp_path, annotations="all")
    row[5] = CATEGORIES[0]
    path.write_text("label\t" + "\t".join(COLUMNS) + "\n" + CATEGORIES[0])
    with pytest.raises(ValueError, match="row 2 of .* without .'image'"):
        load(tmp_path, annotations="all")
    for part in ("train", "dev", "test"):
        path = folder / f"task_humanitarian_text_img_{part}.tsv"
        path.write_text("\t".join(COLUMNS) + "\n" + "\t".join(row))
    # The second and the third list name the same image.
    with pytest.raises(ValueError, match="3 left out.*'1_0'.*no image file"):
        load(tmp_path, annotations="all")


def test_a_damaged_image_is_listed(root, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in root.rglob("*"):
        target = copy / path.relative_to(root)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    data = load(copy)
    path = data.train.samples[3].sources["image"].path
    path.write_bytes(path.read_bytes()[:100])
    left_out = data.train.prepare(max_missing_fraction=0.1, verbose=0)
    assert [(x["modality"], x["reason"][:10]) for x in left_out] == [
        ("image", "is damaged")
    ]
    assert len(data.train.samples) == 31


@pytest.mark.slow
def test_a_text_and_image_pair_is_distilled(root, tmp_path):
    """A modality that is a dict, from the cache, through a whole fit."""
    data = load(
        root,
        cache=tmp_path,
        batch_size=8,
        clean=lambda text: text.replace('"', ""),
    )
    layers = keras.layers
    ids = keras.Input((5,), dtype="int32", name="token_ids")
    mask = keras.Input((5,), dtype="int32", name="padding_mask")
    weights = keras.ops.cast(mask, "float32")[..., None]
    vectors = layers.Embedding(9, 16)(ids) * weights
    pooled = layers.GlobalAveragePooling1D()(vectors)
    logits = layers.Dense(8)(pooled)
    text = keras.Model({"token_ids": ids, "padding_mask": mask}, logits)
    image = keras.Input(SMALL.shape)
    hidden = layers.Dense(16, activation="relu")(layers.Flatten()(image))
    image = keras.Model(image, layers.Dense(8)(hidden))
    distiller = CrossModalDistiller(
        student=image,
        teacher=text,
        student_modality="image",
        teacher_modality="text",
        method=C2KD(),
    )
    distiller.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    history = distiller.fit(
        data.train, epochs=100, validation_data=data.validation, verbose=0
    ).history
    assert history["teacher_accuracy"][-1] > 0.9
    assert history["val_accuracy"][-1] > 0.5
