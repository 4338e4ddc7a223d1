"""From image files to 32x32x3 pixels, many at a time.

In threads, not processes: Pillow decodes without the interpreter's lock, and small images gain little either way.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainers.data.dataset import SIDE
from trainers.errors import DataError

# Pillow can open more, some of it by running other programs (EPS) or by holding a file open.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
AT_ONCE = 256

In = TypeVar("In")
Out = TypeVar("Out")

# What stands for a file that was not fetched, by its first bytes, and the command that fetches it.
POINTERS = {b"version https://git-lfs": "git lfs pull", b"/annex/objects/": "git annex get"}


def in_parallel(work: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """The work's answers in the items' order; the first error, or Ctrl-C, ends it within a few items."""
    parts = [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        return [out for part in pool.map(lambda part: [work(item) for item in part], parts) for out in part]
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def readable(path: str, instead: str = "remove it") -> Iterator[None]:
    """Turns what goes wrong while `path` is read into a DataError."""
    try:
        yield
    except OSError as e:
        raise DataError(f"{path} can't be read ({e.strerror or e}): allow it, or {instead}") from e


def damaged(path: str, why: object, right: str, content: bytes | None = None) -> DataError:
    """The error about a file that is there but not whole; its checksum, of `content` if given, says which file it was.

    It says "sha256" and the first 12 digits.
    """
    if content is None:
        with readable(path), open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    else:
        digest = hashlib.sha256(content)
    return DataError(f"{path} is damaged ({why}; sha256 {digest.hexdigest()[:12]}): {right}")


def read_file(path: str) -> bytes:
    """A file's content; raises DataError where it can't be read."""
    with readable(path), open(path, "rb") as file:
        return file.read()


def decode(content: bytes, path: str) -> NDArray[np.uint8]:
    """The pixels, (3, 32, 32), of an image file's content; DataError, which names `path`, for what is no sound image.

    Other sizes are resized to 32x32 by Pillow's bilinear filter, which averages where it shrinks; proportions change.
    Greys and palettes become RGB, transparency is dropped, 16-bit greys keep their upper eight bits, and of several
    frames the first is taken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # Pillow itself only warns up to twice its limit.
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            return fit(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise DataError(f"{path} is too large to be decoded safely ({e}): make it smaller") from e
    except NotImplementedError as e:
        raise DataError(f"{path} can't be decoded ({e}): convert it to 8 bits, or remove it") from e
    except Exception as e:  # Pillow's decoders raise almost anything for broken files
        for start, fetch in POINTERS.items():
            if content.startswith(start):
                raise DataError(f"{path} only stands for a file that was not fetched: {fetch}") from e
        unknown = "its format is not known" if content else "it is empty"
        why = unknown if isinstance(e, UnidentifiedImageError) else e
        right = f"replace it with a sound image ({', '.join(FORMATS)}), or remove it"
        raise damaged(path, why, right, content) from e


def fit(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels, (3, 32, 32), of an image of any size and mode, as `decode` says."""
    pixels = _rgb(image)
    if pixels.size != (SIDE, SIDE):
        pixels = pixels.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(pixels).transpose(2, 0, 1)


@functools.cache
def endings() -> tuple[str, ...]:
    """How the names of images of FORMATS end, in small letters, with the dot."""
    return tuple(ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    # Pillow gives 16-bit PGM files as mode I, scaled to 65535.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # Pillow's own conversion cuts off what is above 255 instead of scaling.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise NotImplementedError(f"pixels of mode {image.mode} have no known range")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB Pillow warns
    return image.convert("RGB")
