"""Folders of images that nobody means well with: each is refused in one line, and nothing is kept of it."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.hostile.command import SPEC, Gradsweep, images
from trainers.data import load

pytestmark = pytest.mark.timeout(600)

VICTIM = "train/cat/1.png"


def file_of(kind: str, size: tuple[int, int] = (32, 32), **options: Any) -> bytes:
    content = io.BytesIO()
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(content, kind, **options)
    return content.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int = 1, rows: int = 0) -> bytes:
    """A PNG of so many grey pixels, with that many rows of them: 60,000 rows of nothing are half a megabyte."""
    packer = zlib.compressobj(1)
    block = bytes((1 + width * bits // 8) * min(rows, 1000))
    content = b"".join(packer.compress(block) for _ in range(rows // 1000)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


JPEG = file_of("JPEG", (200, 100))
PROGRESSIVE = file_of("JPEG", (200, 100), progressive=True)
PNG = file_of("PNG")
FRAME = JPEG.index(b"\xff\xc0") + 5


def pickled() -> bytes:
    class Owned:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch owned",)

    return pickle.dumps(Owned())


CONTENTS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\xff",
    "a JPEG of its first two bytes": lambda: JPEG[:2],
    "a JPEG of its first hundred bytes": lambda: JPEG[:100],
    "a JPEG without its tables": lambda: JPEG[: JPEG.index(b"\xff\xdb")],
    "a tenth of a JPEG": lambda: JPEG[: len(JPEG) // 10],
    "half a JPEG": lambda: JPEG[: len(JPEG) // 2],
    "nine tenths of a JPEG": lambda: JPEG[: len(JPEG) * 9 // 10],
    "half a progressive JPEG": lambda: PROGRESSIVE[: len(PROGRESSIVE) // 2],
    "a JPEG of no pixels": lambda: JPEG[:FRAME] + bytes(4) + JPEG[FRAME + 4 :],
    "a JPEG that says 65,000 x 65,000": lambda: JPEG[:FRAME] + struct.pack(">HH", 65000, 65000) + JPEG[FRAME + 4 :],
    "a JPEG, then zeros": lambda: JPEG[:300] + bytes(len(JPEG)),
    "half a PNG": lambda: PNG[: len(PNG) // 2],
    "a PNG with a wrong checksum": lambda: PNG[:29] + bytes([PNG[29] ^ 1]) + PNG[30:],
    "a PNG without data": lambda: png(32, 32),
    "a PNG of no pixels": lambda: png(0, 0),
    "a PNG of 60,000 x 60,000 pixels": lambda: png(60_000, 60_000, rows=60_000),
    "a PNG that says 2^31 x 2^31": lambda: png(2**31 - 1, 2**31 - 1),
    "a PNG that says 1 x 2^31": lambda: png(1, 2**31 - 1),
    "a PNG of 10,000 x 10,000 with 16 bits": lambda: png(10_000, 10_000, bits=16),
    "a PNG with a gigabyte of text": lambda: (
        PNG[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200 << 20), 1)) + PNG[33:]
    ),
    "a GIF that says 65,535 x 65,535": lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + file_of("GIF")[10:],
    "half a GIF": lambda: file_of("GIF")[:500],
    "a BMP that says 60,000 x 60,000": lambda: (b := file_of("BMP"))[:18] + struct.pack("<ii", 60_000, 60_000) + b[26:],
    "a BMP of a negative width": lambda: (b := file_of("BMP"))[:18] + struct.pack("<ii", -32, 32) + b[26:],
    "a PPM that says 60,000 x 60,000": lambda: b"P6 60000 60000 255\n" + bytes(100),
    "a PPM that says 10^30 pixels": lambda: b"P6 1000000000000000 1000000000000000 255\n",
    "a TIFF cut off": lambda: file_of("TIFF")[:100],
    "a TIFF of floats": lambda: (
        Image.fromarray(np.zeros((9, 9), np.float32)).save(b := io.BytesIO(), "TIFF") or b.getvalue()
    ),
    "a WebP cut off": lambda: file_of("WEBP")[:200],
    "PostScript": lambda: file_of("EPS"),
    "a PDF": lambda: file_of("PDF"),
    "an icon": lambda: file_of("ICO"),
    "a PCX": lambda: file_of("PCX"),
    "an SVG with an entity": lambda: (
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg/>'
    ),
    "HTML": lambda: b"<html><body>404 Not Found</body></html>",
    "text": lambda: b"not an image",
    "a pickle": pickled,
    "a zip": lambda: b"PK\x05\x06" + bytes(18),
    "a program": lambda: Path("/bin/sh").read_bytes()[:10_000],
    "noise": lambda: np.random.default_rng(1).bytes(10_000),
}


@pytest.fixture
def tree(gradsweep: Gradsweep) -> Path:
    """A sound tree, named in the spec, to be spoiled."""
    root = images(gradsweep.root / "pictures")
    gradsweep.spec.write_text(SPEC.replace("data: digits", f'data: "folder:{root}"'))
    return root


@pytest.mark.inputs("Images: broken, cut off, bombs, files of another kind, one each in a sound folder", cases=CONTENTS)
def test_an_image_that_is_none(gradsweep: Gradsweep, tree: Path, subtests: pytest.Subtests) -> None:
    for case, content in CONTENTS.items():
        with subtests.test(case):
            (tree / VICTIM).write_bytes(content())
            gradsweep.refuses("run", "s.yaml", says=VICTIM)
    assert not (gradsweep.here / "owned").exists()


def linked(file: Path, to: str | Path) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    file.symlink_to(to)


def listening(file: Path) -> None:
    file.unlink()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{short}/s")
        shutil.move(f"{short}/s", file)


def doubling(folder: Path) -> None:
    """2^30 ways to one image."""
    for i in range(30):
        (folder / str(i)).mkdir()
    for i in range(29):
        for way in "ab":
            (folder / str(i) / way).symlink_to(folder / str(i + 1))


def alone(tree: Path, dogs: int = 3) -> None:
    """Its training part takes its place."""
    tree.rename(tree.with_name("whole"))
    (tree.with_name("whole") / "train").rename(tree)
    for i in range(dogs, 3):
        (tree / f"dog/{i}.png").unlink()


def table(tree: Path, lines: str) -> Path:
    """Its test part becomes that of tiny-imagenet, with these lines."""
    shutil.rmtree(tree / "test")
    (tree / "val/images").mkdir(parents=True, exist_ok=True)
    file = tree / "val/val_annotations.txt"
    file.write_text(lines, errors="surrogateescape")
    return file


TREES: dict[str, Callable[[Path], object]] = {
    "no folder": lambda t: shutil.rmtree(t),
    "a file": lambda t: (shutil.rmtree(t), t.write_text("x")),
    "an empty folder": lambda t: (shutil.rmtree(t), t.mkdir()),
    "no train part": lambda t: shutil.rmtree(t / "train"),
    "one class": lambda t: [shutil.rmtree(t / p / "dog") for p in ("train", "test")],
    "no classes": lambda t: [shutil.rmtree(t / p / c) for p in ("train", "test") for c in ("cat", "dog")],
    "a class of one part": lambda t: shutil.rmtree(t / "test/dog"),
    "an empty class": lambda t: (shutil.rmtree(t / "test/dog"), (t / "test/dog").mkdir()),
    "a class of hidden files": lambda t: [f.rename(f.with_name(f".{f.name}")) for f in (t / "test/dog").iterdir()],
    "another case": lambda t: (t / "test/dog").rename(t / "test/Dog"),
    "one level too deep": lambda t: (t.rename(t.with_name("p")), t.mkdir(), t.with_name("p").rename(t / "p")),
    "a pipe": lambda t: ((t / VICTIM).unlink(), os.mkfifo(t / VICTIM)),
    "a pipe in the place of an archive": lambda t: (shutil.rmtree(t), t.mkdir(), os.mkfifo(t / "x.tar")),
    "a socket": lambda t: listening(t / VICTIM),
    "a link to a secret": lambda t: linked(t / VICTIM, "/etc/passwd"),
    "a link to zeros without end": lambda t: linked(t / VICTIM, "/dev/zero"),
    "a link up and out": lambda t: linked(t / VICTIM, "../../../here/s.yaml"),
    "a link to nothing": lambda t: linked(t / VICTIM, "nowhere.png"),
    "a link to itself": lambda t: linked(t / VICTIM, "1.png"),
    "links to each other": lambda t: (linked(t / VICTIM, "2.png"), linked(t / "train/cat/2.png", "1.png")),
    "a class that is a link to itself": lambda t: linked(t / "train/cat", "cat"),
    "a part that is a link to itself": lambda t: linked(t / "train", "train"),
    "a class that is a link out": lambda t: linked(t / "train/cat", "/etc"),
    "a part that is a link out": lambda t: linked(t / "test", "/"),
    "a class that is a link to the whole": lambda t: linked(t / "train/cat", ".."),
    "a folder in a class that is a link to it": lambda t: (t / "train/cat/more").symlink_to("."),
    "links of which each doubles the images": lambda t: doubling(t / "train/cat"),
    "a pipe below a class": lambda t: ((t / "train/cat/more").mkdir(), os.mkfifo(t / "train/cat/more/1.png")),
    "classes at the top, of which one is a single image": lambda t: alone(t, dogs=1),
    "classes at the top, of which one is a link to nothing": lambda t: (alone(t), (t / "emu").symlink_to("nowhere")),
    "tiny-imagenet with a table that leads out": lambda t: table(t, "../../../here/s.yaml\tcat\n"),
    "tiny-imagenet with a table that is a pipe": lambda t: ((f := table(t, "")).unlink(), os.mkfifo(f)),
    "tiny-imagenet with a table of noise": lambda t: table(t, "\0\udcff\t\x1b[2J"),
    "tiny-imagenet with a table of a hundred gigabytes": lambda t: os.truncate(table(t, ""), 100 << 30),
    "a hundred gigabytes of nothing": lambda t: os.truncate(t / VICTIM, 100 << 30),
}


@pytest.mark.inputs(
    "Image folders: one class, none, empty, links out of the tree and in a ring, a pipe, 100 GB", cases=TREES
)
def test_a_tree_that_is_none(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for i, (case, spoil) in enumerate(TREES.items()):
        with subtests.test(case):
            root = images(gradsweep.root / f"pictures {i}" / "tree")
            gradsweep.spec.write_text(SPEC.replace("data: digits", f'data: "folder:{root}"'))
            spoil(root)
            gradsweep.refuses("run", "s.yaml", says=str(root))


@pytest.fixture
def nobody() -> Iterator[None]:
    """Without root's rights, for whom everything is permitted."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


CLOSED = ["", "train", "test/dog", VICTIM]


@pytest.mark.inputs("Image folders: no permission to read the folder, a part, a class, a file", cases=CLOSED)
def test_no_permission(
    gradsweep: Gradsweep, nobody: None, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    for closed in CLOSED:
        # pytest's own folders are for root alone.
        with subtests.test(closed), tempfile.TemporaryDirectory() as folder:
            root = images(Path(folder) / "pictures")
            (root / closed).chmod(0)
            monkeypatch.setenv("GRADSWEEP_CACHE", f"{folder}/cache")
            gradsweep.root = Path(folder) / "store"
            spec, store = Path(folder) / "s.yaml", Path(folder) / "store"
            spec.write_text(SPEC.replace("data: digits", f'data: "folder:{root}"'))
            try:
                gradsweep.refuses("run", str(spec), "--store", str(store), says=str(root / closed).rstrip("/"))
                assert sorted(f.name for f in Path(folder).iterdir()) == ["pictures", "s.yaml"]
            finally:
                (root / closed).chmod(0o755)


@pytest.mark.inputs("Images: a GIF of several frames, a JPEG of greys", outcome="read: the first frame, greys as RGB")
@pytest.mark.parametrize("kind", ["GIF", "JPEG"])
def test_odd_but_sound_images_are_read(gradsweep: Gradsweep, tree: Path, kind: str) -> None:
    frames = [Image.new("L", (32, 32), grey) for grey in (10, 200)]
    more = {"save_all": True, "append_images": frames[1:]} if kind == "GIF" else {}
    frames[0].save(tree / "test/cat/0.png", kind, **more)
    assert np.all(np.abs(load(f"folder:{tree}").test.images[0].astype(int) - 10) <= 1)


@pytest.mark.inputs(
    "An image folder as clusters keep it: read-only, of links, train and val, with Thumbs.db and README.txt in it",
    outcome="read, and each of these is said in one line",
)
def test_data_as_clusters_keep_them(gradsweep: Gradsweep, caplog: pytest.LogCaptureFixture) -> None:
    """Every link is followed, `val` takes the place of `test`, and what is no image by name is counted."""
    caplog.set_level("INFO", "gradsweep")
    real, view = images(gradsweep.root / "pictures"), gradsweep.root / "view"
    for file in sorted(real.glob("*/*/*.png")):
        part, kind, name = file.relative_to(real).parts
        link = view / part.replace("test", "val") / kind / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (view / "train/cat/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (view / "val/dog/README.txt").write_text("x")
    for place in [view, *view.rglob("*")]:
        if not place.is_symlink():
            place.chmod(0o555 if place.is_dir() else 0o444)
    gradsweep.spec.write_text(SPEC.replace("data: digits", f'data: "folder:{view}"'))
    status, _, err = gradsweep("run", "s.yaml")
    assert status == 0, err
    for line in (
        f"{view}/val is used as the test split",
        f"ignored 2 files below {view} not named like an image, or outside the folders of the classes, "
        f"such as {view}/train/cat/Thumbs.db",
    ):
        assert caplog.messages.count(line) == 1
    assert load(f"folder:{view}").digest == load(f"folder:{real}").digest
    for place in [view, *view.rglob("*")]:
        if place.is_dir():
            place.chmod(0o755)
