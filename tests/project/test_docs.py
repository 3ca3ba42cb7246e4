"""The manual: its code runs, its links lead somewhere, it is built strictly."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from tests.project.pages import DOCS
from tests.project.pages import PAGES
from tests.project.pages import ROOT
from tests.project.pages import blocks
from tests.project.pages import name_of
from tests.project.pages import run_blocks
from tests.project.pages import shorten_comparisons
from tests.recipes.official_layouts import write_crema_d

# What tests/project/test_readme.py runs on every backend.
RUN_THERE = {"README.md", "docs/distiller.md", "docs/data/unlabelled.md"}
QUICK = {"docs/data/arrays.md", "docs/methods.md"}
WITH_CODE = [
    pytest.param(
        page,
        id=name_of(page),
        marks=[] if name_of(page) in QUICK else [pytest.mark.slow],
    )
    for page in PAGES
    if blocks(page) and name_of(page) not in RUN_THERE
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"```.*?```", re.DOTALL)
PAGES_WITH_LINKS = [
    *PAGES,
    ROOT / "recipes" / "README.md",
    ROOT / "CONTRIBUTING.md",
]


@pytest.mark.one_backend
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shorten_comparisons(monkeypatch)
    replaced = []
    if page == DOCS / "paper.md":
        write_crema_d(tmp_path / "CREMA-D", actors=12)
        replaced = [
            ("/path/to/CREMA-D", tmp_path / "CREMA-D"),
            ("/path/to/cache", tmp_path / "cache"),
            # Some of the written files are damaged, as in the original.
            (".prepare()", ".prepare(max_missing_fraction=0.5)"),
        ]
    run_blocks(page, replaced=replaced)


def anchors(page):
    """Return what can be linked to in a page."""
    text = FENCED.sub("", page.read_text())
    found = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        heading = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", heading))
    return found


@pytest.mark.backend_free
@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=name_of)
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        path = (page.parent / target).resolve() if target else page
        # A folder cannot be linked to in the built site.
        if not path.exists() or (path.is_dir() and page.parent != ROOT):
            broken.append(link)
        elif anchor and anchor not in anchors(path):
            broken.append(link)
    assert not broken


@pytest.mark.backend_free
def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    shown = set(re.findall(r"[\w/-]+\.md", text.split("\nnav:")[1]))
    assert shown == {page.relative_to(DOCS).as_posix() for page in PAGES[1:]}


@pytest.mark.backend_free
@pytest.mark.slow
def test_the_manual_is_built_strictly(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed (extra `docs`)")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    site = tmp_path / "site"
    done = subprocess.run(
        [*build, "--site-dir", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (site / "api" / "methods.html").read_text()
    assert 'id="keras_c2kd.methods.C2KD"' in page
    page = (site / "results.html").read_text()
    assert "repository/recipes/results/av_digits/table.png" in page
    assert (site / "repository/recipes/results/av_digits/table.png").exists()


@pytest.mark.backend_free
@pytest.mark.slow
def test_a_broken_link_fails_the_build(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed (extra `docs`)")
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "hooks.py", tmp_path / "docs" / "hooks.py")
    (tmp_path / "docs" / "index.md").write_text("[gone](../recipes/gone.py)\n")
    settings = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[0]
    settings = settings.replace("extra_css: [style.css]\n", "")
    (tmp_path / "mkdocs.yml").write_text(settings)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "gone.py" in done.stderr
