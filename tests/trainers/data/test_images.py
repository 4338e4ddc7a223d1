"""Decoding: lossless files to the bit, every kind of pixel, and a name in every error."""

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from trainers.data.images import decode, in_parallel, read_file
from trainers.errors import DataError


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@given(arrays(np.uint8, (32, 32, 3)), st.sampled_from(["PNG", "BMP", "PPM", "TIFF", "WEBP"]))
def test_lossless_files_come_back_to_the_bit(pixels: np.ndarray, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(file_of(Image.fromarray(pixels), kind, **options), "x")
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels.transpose(2, 0, 1))


GREYS = (np.arange(1024) // 4).astype(np.uint8).reshape(32, 32)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_greys_stay_what_they_are_in_every_kind_of_pixel(mode: str) -> None:
    grey = Image.fromarray(GREYS)
    image = Image.fromarray(GREYS.astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    assert image.mode == mode
    assert np.array_equal(decode(file_of(image), "x"), np.stack([GREYS] * 3))


@pytest.mark.parametrize("bits", [16, 12])
def test_greys_of_a_pgm_file_keep_their_upper_eight_bits(bits: int) -> None:
    pixels = (GREYS.astype(np.uint16) * 257) >> (16 - bits)
    content = f"P5 32 32 {2**bits - 1}\n".encode() + pixels.astype(">u2").tobytes()
    assert np.array_equal(decode(content, "x"), np.stack([GREYS] * 3))


def test_black_and_white_pixels_and_a_palette_with_transparency() -> None:
    checks = Image.fromarray(GREYS > 127)
    assert np.array_equal(decode(file_of(checks), "x")[0], np.where(GREYS > 127, 255, 0))
    palette = Image.fromarray(GREYS).convert("P")
    found = decode(file_of(palette, transparency=bytes(range(256))), "x")
    assert np.array_equal(found, np.stack([GREYS] * 3))


def test_the_first_frame_is_taken() -> None:
    frames = [Image.new("L", (32, 32), grey) for grey in (10, 200)]
    content = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.all(decode(content, "x") == 10)


@pytest.mark.parametrize("size", [(64, 64), (96, 48), (16, 16), (1, 1), (33, 31)])
def test_other_sizes_are_resized(size: tuple[int, int]) -> None:
    flat = Image.new("RGB", size, (10, 20, 30))
    found = decode(file_of(flat), "x")
    assert found.shape == (3, 32, 32)
    assert np.array_equal(found[:, 5, 7], [10, 20, 30]) and np.ptp(found, axis=(1, 2)).max() == 0


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.zeros((128, 128), np.uint8)
    stripes[:, ::2] = 255
    found = decode(file_of(Image.fromarray(stripes)), "x")
    assert found.min() > 100 and found.max() < 155


SOUND = file_of(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)))
BROKEN = {
    "empty": (b"", "it is empty"),
    "text": (b"not an image at all", "its format is not known"),
    "cut off": (SOUND[: len(SOUND) // 2], "truncated"),
    "header only": (SOUND[:33], ""),
    "a bit flipped": (SOUND[:200] + bytes([SOUND[200] ^ 1]) + SOUND[201:], "broken data stream"),
    "postscript": (file_of(Image.new("RGB", (32, 32)), "EPS"), "its format is not known"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_sound_image_is_damaged_and_named_with_its_checksum(kind: str) -> None:
    content, why = BROKEN[kind]
    right = r"replace it with a sound image \(BMP, GIF, JPEG"
    checksum = hashlib.sha256(content).hexdigest()[:12]
    with pytest.raises(DataError, match=rf"^train/cat/7\.png is damaged \(.*{why}.*; sha256 {checksum}\): {right}"):
        decode(content, "train/cat/7.png")


def test_pixels_without_a_known_range_are_no_damage() -> None:
    content = file_of(Image.fromarray(GREYS.astype(np.float32)), "TIFF")
    with pytest.raises(DataError, match=r"^7\.tif can't be decoded \(pixels of mode F have no known range\): convert"):
        decode(content, "7.tif")


@pytest.mark.parametrize(
    ("content", "fetch"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s12345--4d7a.png\n", "git annex get"),
    ],
)
def test_what_stands_for_a_file_that_was_not_fetched_is_named(content: bytes, fetch: str) -> None:
    with pytest.raises(DataError, match=rf"^7\.png only stands for a file that was not fetched: {fetch}$"):
        decode(content, "7.png")


@given(st.binary(max_size=300), st.integers(0, len(SOUND)))
def test_no_bytes_raise_anything_else(noise: bytes, cut: int) -> None:
    for content in (noise, SOUND[:cut] + noise):
        try:
            assert decode(content, "x").shape == (3, 32, 32)
        except DataError:
            pass


@pytest.mark.parametrize("limit", [5000, 9000])
def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    content = file_of(Image.new("L", (100, 101)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="huge.png is too large to be decoded safely"):
        decode(content, "huge.png")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png can't be read \(No such file or directory\)"):
        read_file(str(tmp_path / "gone.png"))


@given(st.lists(st.integers(), max_size=600))
def test_parallel_work_keeps_its_order(items: list[int]) -> None:
    assert in_parallel(lambda item: item + 1, items) == [item + 1 for item in items]


def test_the_first_error_ends_the_work() -> None:
    seen, failed = [], threading.Event()

    def work(item: int) -> None:
        if item == 0:
            failed.set()
            raise DataError("0 is broken")
        failed.wait()
        seen.append(item)

    with pytest.raises(DataError, match="0 is broken"):
        in_parallel(work, range(1_000_000))
    assert len(seen) < 500_000
