"""The paper's tables and figures from the records of a finished trial."""

import shutil

from tests.recipes.paper.loading import load


def check_tables(name, out, folder, student, method, *more):
    """Check that all tables of a data set are made of its trial's records.

    Args:
        name: Name of the recipe.
        out: Path of the trial's results: one method in one direction, and
            both networks alone.
        folder: Path of a folder to work in.
        student: Modality of the trial's student.
        method: Name of the trial's method.
        *more: Words that name the trial's other settings.
    """
    results = folder / "results"
    shutil.copytree(out, results / name)
    words = ["--results", str(results), "--only", name, "--smoke", *more]
    tables = load("tables").main(["--table", "all", *words])
    for number, cells in tables.items():
        assert set(cells["recipe"]) == {name}
        scores = cells[(cells["student"] == student) & (cells["of"] == "score")]
        scores = scores[scores["quantity"] == "score"].set_index("method")
        found = scores[scores["measured_mean"].notna()]
        assert set(found.index) == set(scores.index) & {"alone", method}
        if method in found.index:
            assert found.loc[method, "measured_count"] == 1
            if "alone" in found.index:
                assert found.loc[method, "difference_count"] == 1
        stem = results / "tables" / f"table_{number}"
        for ending in ("txt", "md", "tex", "csv"):
            assert "missing" in stem.with_suffix(f".{ending}").read_text()


def check_figures(name, out, folder, data, student, *more):
    """Check the figures that the networks of a trial can tell.

    Args:
        name: Name of the recipe.
        out: Path of the trial's results: C2KD in one direction, and both
            networks alone.
        folder: Path of a folder to work in.
        data: Path of the user's folder.
        student: Modality of the trial's student.
        *more: Words that name the trial's other settings.
    """
    results = folder / "results"
    shutil.copytree(out, results / name, dirs_exist_ok=True)
    words = ["--results", str(results), "--only", name, "--smoke", *more]
    words += ["--data", f"{name}={data}"]
    numbers = [word for number in "136" for word in ("--figure", number)]
    drawn = load("figures").main([*numbers, *words])
    scores = drawn[1][drawn[1]["quantity"] == "score"]
    assert len(scores) == 2 and scores["measured_mean"].notna().all()
    between = drawn[1][drawn[1]["series"] == "between"]
    assert list(between["measured_count"]) == [1]
    # Of C2KD in the direction that was trained.
    told = drawn[3][drawn[3]["measured_mean"].notna()]
    assert set(told["panel"]) == {f"{student} student"}
    assert set(told["series"]) <= {
        "c2kd, val_accuracy",
        "c2kd, rank_distorted_share",
    }
    assert drawn[6]["measured_mean"].between(-1, 1).all()
    for number in "136":
        picture = results / "figures" / f"figure_{number}.png"
        assert picture.stat().st_size > 10_000
