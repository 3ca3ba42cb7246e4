"""What is written: text, JSON, picture and page."""

import base64
import html.parser
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_c2kd.analysis import modality_gap
from tests.analysis.gap_cases import gap_of
from tests.analysis.gap_cases import identity_network
from tests.analysis.gap_cases import random_logits

pytestmark = pytest.mark.backend_free

TEACHER, STUDENT = (48, 48, 48), (213, 94, 0)
# What a page must show as text and must not take as anything else.
NASTY = [
    "<script>document.title = 'taken'</script>",
    '"><img src=http://example.org/x.png onerror=alert(1)>',
    "&amp; &lt;b&gt; 'quoted' \"twice\"",
    "$\\frac{$ %s {0} __name__",
    "two\nlines\tand \x1b[31mred",
]


@pytest.fixture(scope="module")
def gap():
    return gap_of(*random_logits(200, 4))


@pytest.fixture(scope="module")
def nasty():
    """Every text that a user chooses is hostile."""
    logits, labels = random_logits(200, 5)
    renamed = dict(zip(("<i>audio</i>", "visual & <b>"), logits.values()))
    return modality_gap(
        identity_network("<u>net", 5),
        identity_network("a&b", 5),
        (renamed, labels),
        teacher_modality="<i>audio</i>",
        student_modality="visual & <b>",
        teacher_features={"<script>stage": None},
        class_names=NASTY,
        verbose=0,
    )


def picture_of(gap):
    return np.asarray(Image.open(io.BytesIO(gap.to_png())).convert("RGB"))


def share_of(picture, color, tolerance=6):
    distance = np.abs(picture.astype(int) - color).max(-1)
    return (distance <= tolerance).mean()


class Page(html.parser.HTMLParser):
    """All tags with their attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def test_the_text_has_the_conclusion_and_all_figures(gap):
    text = str(gap)
    assert text == gap.summary()
    assert max(map(len, text.splitlines())) < 130
    flat = " ".join(text.split())
    for finding in gap.findings:
        assert finding.sentence in flat
        assert f"[{finding.rule} " in flat
        assert finding.because in flat
    assert "a forecast" in flat and "Only training with and without" in flat
    # The reader's question comes first.
    assert text.index("[expected gain") < text.index("[accuracy")
    for title in (
        "The two networks",
        "Side by side",
        "Kendall correlation of the logits",
        "CKA of the features",
        "Classes that conflict",
        "Each class",
    ):
        assert f"\n{title}" in text
    teacher = gap.measures.teacher
    assert f"{100 * teacher.accuracy.value:.1f} [" in text
    assert f"{teacher.target_probability:.3f}" in text
    assert "nan" not in text


def test_a_long_table_is_cut_and_says_so():
    text = gap_of(*random_logits(300, 30)).summary()
    lines = text.split("Each class, the lowest agreement first\n")[1]
    lines = lines.splitlines()
    assert lines[21] == "... and 10 more"
    agreement = [float(line.split()[4]) for line in lines[1:21]]
    assert agreement == sorted(agreement)


def test_the_json_has_everything_and_no_nan(gap):
    values = json.loads(json.dumps(gap.to_dict(), allow_nan=False))
    measures = values["measures"]
    assert measures["teacher"]["accuracy"]["value"] == (
        gap.measures.teacher.accuracy.value
    )
    assert len(measures["classes"]) == 4
    assert measures["kendall"]["edges"][10] == 0
    assert values["features"]["cka"] == gap.cka.tolist()
    assert values["rules"]["confidence"] == 0.95
    assert [f["rule"] for f in values["findings"]] == [
        f.rule for f in gap.findings
    ]
    logits, labels = random_logits(2, 2)
    values = gap_of(logits, labels * 0).to_dict()
    assert values["measures"]["kendall"]["non_target_mean"] is None
    assert values["measures"]["classes"][1]["agreement"] is None
    assert values["features"]["cka"] == [[None]]
    json.dumps(values, allow_nan=False)


def test_save_writes_three_files(gap, tmp_path):
    paths = gap.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        "modality_gap.json",
        "modality_gap.png",
        "modality_gap.html",
    ]
    assert sorted(os.listdir(paths[0].parent)) == sorted(
        path.name for path in paths
    )
    assert json.loads(paths[0].read_text()) == gap.to_dict()
    page = Page(paths[2].read_text(encoding="utf-8"))
    (image,) = (found for tag, found in page.tags if tag == "img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == paths[1].read_bytes()


def test_a_failed_save_leaves_the_old_report(gap, tmp_path, monkeypatch):
    gap.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        gap.save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4, 50, 80])
def test_the_picture_has_a_sane_size_and_all_panels(classes):
    names = [
        f"a class with quite a long name, number {i}" for i in range(classes)
    ]
    gap = gap_of(*random_logits(4 * classes, classes), class_names=names)
    picture = picture_of(gap)
    height, width = picture.shape[:2]
    assert 1000 <= width <= 2500 and 800 <= height <= 2500
    assert len(gap.to_png()) < 2_000_000
    assert share_of(picture, TEACHER) > 0.004
    assert share_of(picture, STUDENT) > 0.004
    quarters = [
        half for rows in np.array_split(picture, 2)
        for half in np.array_split(rows, 2, axis=1)
    ]  # fmt: skip
    for quarter in quarters:
        assert 0.02 < 1 - share_of(quarter, (255, 255, 255)) < 0.95


def test_the_bars_are_as_high_as_the_figures():
    """Of two networks, the one that is always right has the longer bars."""
    labels = np.arange(200) % 2
    good = np.eye(2)[labels].astype("float32") * 5
    bad = good.copy()
    bad[:150] = bad[:150, ::-1]
    dark = [
        share_of(picture_of(gap_of(logits, labels))[:600, :820], TEACHER)
        for logits in (
            {"audio": good, "visual": bad},
            {"audio": bad, "visual": good},
        )
    ]
    assert dark[0] == pytest.approx(4 * dark[1], rel=0.15)


@pytest.mark.slow
def test_the_picture_needs_no_screen(tmp_path):
    """An interactive backend is asked for, and there is no display."""
    code = (
        "from tests.analysis.gap_cases import gap_of, random_logits\n"
        f"gap_of(*random_logits(20, 3)).save({str(tmp_path)!r})\n"
    )
    environment = {**os.environ, "MPLBACKEND": "tkagg"}
    environment.pop("DISPLAY", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    Image.open(tmp_path / "modality_gap.png").verify()


def test_nothing_in_a_name_becomes_markup(nasty, gap):
    page, plain = Page(nasty.to_html()), Page(gap.to_html())
    allowed = {tag for tag, _ in plain.tags}
    assert {tag for tag, _ in page.tags} <= allowed
    assert "script" not in allowed and "a" not in allowed
    assert [tag for tag, _ in page.tags].count("img") == 1
    attributes = {name for _, found in page.tags for name in found}
    assert attributes <= {
        "lang", "charset", "http-equiv", "content", "name", "src", "alt",
        "class",
    }  # fmt: skip
    # The names are there, as text.
    text = " ".join(page.texts)
    for name in NASTY[:4]:
        assert name in page.texts
    assert "two lines and [31mred" in page.texts
    for name in ("<i>audio</i>", "visual & <b>", "<u>net", "a&b"):
        assert name in text
    assert "<script>stage" in page.texts


def test_the_page_may_load_nothing(gap):
    page = Page(gap.to_html())
    (policy,) = (
        found["content"]
        for tag, found in page.tags
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src" not in policy
    for tag, found in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for value in found.values():
            assert "//" not in (value or "").split("base64,")[0]
    assert "url(" not in gap.to_html()
    assert "@import" not in gap.to_html()


def test_odd_names_are_drawn(nasty):
    assert share_of(picture_of(nasty), STUDENT) > 0.004
    text = nasty.summary()
    assert "\x1b" not in text
    assert any(
        line.startswith("two lines and [31mred") for line in text.split("\n")
    )


def test_a_report_without_features_is_drawn():
    gap = gap_of(*random_logits(100, 3), teacher_features=[])
    assert share_of(picture_of(gap), TEACHER) > 0.004
    assert "CKA" not in gap.summary()
