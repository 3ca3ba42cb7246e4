"""The paper's tables and figures from the records of a finished trial."""

import shutil

from tests.recipes.loading import load_recipe


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
    for filled in load_recipe("tables").main(["--table", "all", *words]):
        columns = filled.table.columns
        assert {column.recipe for column in columns} == {name}
        (index,) = (
            index
            for index, column in enumerate(columns)
            if (column.student, column.quantity) == (student, "score")
        )
        found = {
            row.method: cell
            for row, cell in filled.column(index)
            if cell.measured and cell.quantity == "score"
        }
        rows = {row.method for row in filled.table.rows}
        assert set(found) == rows & {"without-kd", method}
        if method in found:
            assert found[method].measured.count == 1
        if {"without-kd", method} <= rows:
            assert found[method].difference.count == 1
        stem = results / "tables" / f"table_{filled.table.number}"
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
    drawn = load_recipe("figures").main([*numbers, *words])
    scores = [point for point in drawn[1] if point.quantity == "score"]
    assert len(scores) == 2 and all(point.runs for point in scores)
    between = [point for point in drawn[1] if point.series == "between"]
    assert [len(point.runs) for point in between] == [1]
    # Of C2KD in the direction that was trained.
    told = [point for point in drawn[3] if point.runs]
    assert {point.panel for point in told} == {f"{student} student"}
    assert {point.series.partition(",")[0] for point in told} == {"c2kd"}
    assert all(-1 <= point.summary.mean <= 1 for point in drawn[6])
    for number in "136":
        picture = results / "figures" / f"figure_{number}.png"
        assert picture.stat().st_size > 10_000
