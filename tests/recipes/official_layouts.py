"""Small data sets in the official layouts, written with real codecs.

They are generated: no sample of a data set is in them. A class is a tone and
a colour, so that networks can learn it from either modality. Each has some of
the traps of its original.
"""

import colorsys

import numpy as np
import soundfile
from PIL import Image

from tests.data.media_files import tone
from tests.data.media_files import write_video

LFS_STUB = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def colour_of(label, classes):
    """Colours at equal distances on the colour wheel."""
    red, green, blue = colorsys.hsv_to_rgb(label / classes, 0.9, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def frequency_of(label):
    return 250.0 * 1.3**label


def write_clip(path, label, classes, seconds=1.5, **kwargs):
    """Write a video of one colour with a tone; the frame is 64 x 48."""
    frames = [colour_of(label, classes)] * round(10 * seconds)
    write_video(path, frames, tone(frequency_of(label), seconds), **kwargs)


def cut_off(path, share=0.4):
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])


def write_crema_d(root, actors=8):
    """Six emotions by some actors, with LFS stubs and damaged files."""
    from keras_c2kd.data.crema_d import EMOTIONS

    for folder in ("AudioWAV", "VideoFlash"):
        (root / folder).mkdir(parents=True)
    for actor in range(1001, 1001 + actors):
        for label, emotion in enumerate(EMOTIONS):
            name = f"{actor}_DFA_{emotion}_XX"
            # Some shorter than a second, all repeated to three.
            seconds = 0.7 if actor % 3 == 0 else 2.0
            wave = tone(frequency_of(label), seconds, 16000)[0]
            soundfile.write(root / f"AudioWAV/{name}.wav", wave, 16000)
            write_clip(
                root / f"VideoFlash/{name}.flv",
                label,
                len(EMOTIONS),
                video_codec="flv",
                audio_codec="libmp3lame",
            )
    broken = {
        "AudioWAV/1001_DFA_NEU_XX.wav": "Git LFS stub",
        "VideoFlash/1002_DFA_HAP_XX.flv": "is cut off",
        "AudioWAV/1003_DFA_SAD_XX.wav": "silent",
    }
    stub, flv, silent = (root / name for name in broken)
    stub.write_text(LFS_STUB)
    cut_off(flv)
    soundfile.write(silent, np.zeros(16000), 16000)
    (root / "AudioWAV/1040_ITH_SAD_X.wav").write_bytes(stub.read_bytes())
    return {name.split("/")[1][:15]: why for name, why in broken.items()}


AVE_CLASSES = ("Church bell", "Male speech, man speaking", "Bark", "Race car")


def write_ave(root, copies=(8, 3, 3)):
    """Four events in the official lists, one of them with a header."""
    (root / "AVE").mkdir(parents=True)
    rows = {"trainSet.txt": [], "valSet.txt": [], "testSet.txt": []}
    for (name, listed), count in zip(rows.items(), copies):
        for label, category in enumerate(AVE_CLASSES):
            for copy in range(count):
                # Ids may begin with a hyphen and hold underscores.
                video = f"-{name[:2]}_{label}{copy}"
                listed.append(f"{category}&{video}&good&0&1")
                path = root / "AVE" / f"{video}.mp4"
                write_clip(path, label, len(AVE_CLASSES))
    train = rows["trainSet.txt"]
    train.append(train[0].replace(AVE_CLASSES[0], AVE_CLASSES[2]))
    train.append(f"{AVE_CLASSES[0]}&nothing&good&0&0")
    train.append(f"{AVE_CLASSES[1]}&gone&good&0&10")
    train.append(rows["testSet.txt"][0])
    write_video(root / "AVE/mute.mp4", [colour_of(2, 4)] * 10)
    train.append(f"{AVE_CLASSES[2]}&mute&good&0&1")
    cut_off(root / "AVE/-tr_00.mp4")
    header = "Category&VideoID&Quality&StartTime&EndTime\n"
    for name, listed in rows.items():
        text = (header if name == "trainSet.txt" else "") + "\n".join(listed)
        # A mark of the byte order, as some editors leave it.
        encoding = "utf-8-sig" if name == "valSet.txt" else "utf-8"
        (root / name).write_text(text, encoding=encoding)
    return {"mute": "no audio stream", "-tr_00": "damaged"}


VGGSOUND_CLASSES = (
    "waterfall burbling",
    "subway, metro, underground",
    "helicopter",
    "otter growling",
)


def write_vggsound(root, copies=(10, 4)):
    """Four of the 50 classes; padded and plain names, flat and in folders."""
    rows = []
    for split, count in zip(("train", "test"), copies):
        (root / split).mkdir(parents=True)
        for label, name in enumerate(VGGSOUND_CLASSES):
            for copy in range(count):
                video, start = f"--{split}_{label}{copy}", 30 + copy
                quoted = f'"{name}"' if "," in name else name
                rows.append(f"{video},{start},{quoted},{split}")
                folder = root / split if copy % 2 else root
                stem = (
                    f"{video}_{start:06d}" if copy % 3 else f"{video}_{start}"
                )
                write_clip(folder / f"{stem}.mp4", label, len(VGGSOUND_CLASSES))
    rows.append("gone,5,helicopter,train")
    rows.append("other,5,typing on computer keyboard,train")
    damaged = root / "--train_00_30.mp4"
    damaged.write_bytes(b"no video")
    (root / "vggsound.csv").write_text("\n".join(rows) + "\n")
    return {"--train_00_000030": "is damaged"}


CRISIS_COLUMNS = (
    "event_name tweet_id image_id tweet_text image label label_text "
    "label_image label_text_image"
).split()
CRISIS_WORDS = "person bridge wounded lost cat news help car".split()


def write_crisis_mmd(root, copies=(8, 3, 3)):
    """Eight categories; quotes, links and 18-digit ids."""
    from keras_c2kd.data.crisis_mmd import CATEGORIES

    folder = root / "crisismmd_datasplit_agreed_label"
    folder.mkdir(parents=True)
    for part, count in zip(("train", "dev", "test"), copies):
        rows = ["\t".join(CRISIS_COLUMNS)]
        for label, category in enumerate(CATEGORIES):
            for copy in range(count):
                tweet = f"9177931374259{label}{copy}{len(part):03d}"
                image = f"data_image/fires/1_2_2017/{tweet}_0.jpg"
                path = root / image
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((40, 60, 3), colour_of(label, 8), "uint8")
                Image.fromarray(pixels).save(path)
                text = (
                    f'RT @x: " {CRISIS_WORDS[label]} #fire https://t.co/{copy}'
                )
                row = ["fires", tweet, f"{tweet}_0", text, image]
                rows.append("\t".join([*row, *[category] * 3, "Positive"]))
        name = f"task_humanitarian_text_img_agreed_lab_{part}.tsv"
        (folder / name).write_text("\n".join(rows), encoding="utf-8")
    damaged = next(iter(sorted((root / "data_image").rglob("*.jpg"))))
    cut_off(damaged)
    return {damaged.stem: "is damaged"}


WRITERS = {
    "crema_d": write_crema_d,
    "ave": write_ave,
    "vggsound": write_vggsound,
    "crisis_mmd": write_crisis_mmd,
}
