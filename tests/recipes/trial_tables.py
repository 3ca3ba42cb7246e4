"""The paper's tables from the records of a finished trial."""

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
