"""Data folders as they are on real disks."""

import os
import sys

import numpy as np
import pytest
import soundfile

from keras_c2kd.data import MediaError
from keras_c2kd.data.data_files import data_files
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from keras_c2kd.data.media import read_image
from keras_c2kd.data.paired_splits import split_off
from tests.data.media_files import tone
from tests.data.media_files import write_video
from tests.properties.test_lists import SETS
from tests.properties.test_lists import ave
from tests.properties.test_lists import crema_d
from tests.properties.test_lists import names
from tests.properties.test_lists import vggsound
from tests.properties.test_lists import write

pytestmark = pytest.mark.backend_free

NO_TEXT = os.fsdecode(b"caf\xe9.wav")


def test_the_files_of_a_folder(tmp_path):
    files = ["b.wav", "a/x.WAV", "a/-y_1.Wav", "a/deep/z.flac"]
    others = ["._b.wav", "a/.hidden.wav", ".trash/t.wav", "a/notes.txt", "wav"]
    for name in files + others:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder.wav" / "inside.wav").touch()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    linked = tmp_path.with_name(f"{tmp_path.name}-linked")
    linked.mkdir()
    (linked / "l.wav").touch()
    (tmp_path / "link").symlink_to(linked)
    expected = [*files, "folder.wav/inside.wav", "link/l.wav"]
    found = data_files(tmp_path, (".wav", ".flac"))
    assert found == sorted(tmp_path / name for name in expected)
    assert data_files(tmp_path, (".wav",), deep=False) == [tmp_path / "b.wav"]
    assert data_files(tmp_path / "absent", (".wav",)) == []


@pytest.mark.parametrize("data_set", SETS)
def test_every_data_set_finds_its_files(data_set, tmp_path):
    """Upper case is found; folders and what macOS leaves are no clips."""
    lists, files, load = data_set(tmp_path)
    write(tmp_path, lists, files)
    expected = names(load())
    for name in files:
        path = tmp_path / name
        path.rename(path.with_suffix(path.suffix.upper()))
        path.with_name(f"._{path.name}").touch()
        if data_set is not crema_d:
            (tmp_path / "zzz" / path.name).mkdir(parents=True, exist_ok=True)
    data = load()
    assert names(data) == expected and not data.provenance["missing"]
    # A folder in the place of a file is no file.
    gone = tmp_path / files[0]
    gone.with_suffix(gone.suffix.upper()).unlink()
    gone.mkdir()
    try:
        data = load()
    except ValueError as error:
        assert "Each part" in str(error)
    else:
        assert len(data.provenance["missing"]) == 1


@pytest.mark.parametrize("data_set", SETS)
def test_every_data_set_may_be_moved(data_set, tmp_path):
    """The cache knows its files by their paths below the root."""
    lists, files, load = data_set(tmp_path)
    write(tmp_path, lists, files)
    cache = load(cache=tmp_path / "cache").test.cache
    assert cache.root == str(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_are_no_text(tmp_path):
    wave = tone(440, 0.1, 16000)
    soundfile.write(tmp_path / "x.wav", wave[0], 16000)
    write_video(tmp_path / "x.mp4", [(9, 9, 9)] * 10)
    expected = read_audio(tmp_path / "x.wav", 16000)
    sound, video = tmp_path / NO_TEXT, (tmp_path / NO_TEXT).with_suffix(".mp4")
    (tmp_path / "x.wav").rename(sound)
    (tmp_path / "x.mp4").rename(video)
    assert data_files(tmp_path, (".wav",)) == [sound]
    np.testing.assert_array_equal(read_audio(sound, 16000), expected)
    assert len(read_frames(video)) == 1
    assert split_off([sound.stem], 1.0) == ([sound.stem], [])
    with pytest.raises(MediaError, match="is damaged, or of"):
        read_image(sound)


@pytest.mark.parametrize("name", ["x" * 300, "\0", "x/" * 3000])
def test_names_that_no_disk_has(tmp_path, name):
    for read in (read_image, read_frames, lambda x: read_audio(x, 8000)):
        with pytest.raises(MediaError, match="cannot be opened|is missing"):
            read(tmp_path / f"{name}.wav")
    for data_set, line in (
        (ave, "Bell&{}&good&0&2"),
        (vggsound, "{},1,a,test"),
    ):
        lists, files, load = data_set(tmp_path)
        write(tmp_path, lists, files)
        path = tmp_path / list(lists)[-1]
        path.write_text(path.read_text() + line.format(name) + "\n")
        try:
            assert len(load().provenance["missing"]) < 2
        except ValueError as error:
            assert "Received: " in str(error)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.wav")
    with pytest.raises(MediaError, match="is no file"):
        read_audio(tmp_path / "x.wav", 16000)
    assert data_files(tmp_path, (".wav",)) == []
