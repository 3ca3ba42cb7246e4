"""Names for files of kinds that are not read, which are not damaged."""

# Beginnings of files, where they stand, and whose they are.
_NO_RECORDING = (
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (0, b"<html", "HTML"),
    (0, b"<HTML", "HTML"),
    (0, b"<!doctype", "HTML"),
    (0, b"<!DOCTYPE", "HTML"),
    (0, b"MThd", "MIDI"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"Rar!", "RAR"),
    (0, b"7z\xbc\xaf", "7-Zip"),
)
_RECORDINGS = (
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"ftyp", "MP4"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"FLV", "FLV"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "ASF"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
)


def kind_of(beginning: bytes, recordings: bool = True) -> str | None:
    """Return the name of a file's kind by its beginning.

    Args:
        beginning: Bytes, at least 16 if there are as many.
        recordings: Whether those of sound and pictures are looked for too.
            Defaults to `True`.

    Returns:
        String; `None` if the kind is not known.
    """
    kinds = _NO_RECORDING + (_RECORDINGS if recordings else ())
    for position, name, kind in kinds:
        if beginning[position:].startswith(name):
            return kind
    return None
