import pathlib
import re

import keras

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_quickstart_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = README.read_text().split("## Quickstart")[1].split("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {"__name__": "quickstart"})
    student = keras.models.load_model(tmp_path / "visual.keras")
    assert student.output_shape == (None, 4)
