import os

import pytest

from keras_c2kd.utils.atomic_files import write_atomically

pytestmark = pytest.mark.backend_free


def test_text_is_utf_8_and_bytes_are_bytes(tmp_path):
    write_atomically(tmp_path / "new" / "text", "grün\n")
    write_atomically(tmp_path / "new" / "bytes", b"\x00\r\n\xff")
    assert (tmp_path / "new" / "text").read_bytes() == b"gr\xc3\xbcn\n"
    assert (tmp_path / "new" / "bytes").read_bytes() == b"\x00\r\n\xff"
    assert sorted(os.listdir(tmp_path / "new")) == ["bytes", "text"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    write_atomically(path, b"old")

    def fail(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["picture.png"]


def test_content_is_on_the_disk_before_its_name_and_the_name_after(
    tmp_path, monkeypatch
):
    """A power cut cannot leave an empty file under the name."""
    path, events = tmp_path / "state.json", []
    replace = os.replace
    monkeypatch.setattr(
        os,
        "replace",
        lambda *paths: events.append("named") or replace(*paths),
    )
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: events.append(
            (os.fstat(number).st_ino, os.fstat(number).st_size)
        ),
    )
    write_atomically(path, b"12345")
    content, folder = (path.stat().st_ino, 5), tmp_path.stat().st_ino
    assert events.index(content) < events.index("named")
    assert events[-1][0] == folder
