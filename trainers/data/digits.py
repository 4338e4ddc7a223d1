"""The handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels in 17 greys; no download.

Enlarged to 32x32x3 by repeating every pixel four times in both directions and the grey in all three channels: nothing
is invented between the pixels, and the numbers are the same on every machine. A fifth is the test split.
"""

from __future__ import annotations

import numpy as np

from trainers.data.dataset import SIDE, Dataset, Split, assemble
from trainers.errors import DataError


def load_digits() -> Dataset:
    """The digits: 1,295 training, 143 validation and 359 test images; raises DataError without scikit-learn."""
    try:
        from sklearn import datasets
    except ImportError as e:
        raise DataError(f"digits need scikit-learn ({e}): install it, or use cifar10 or folder:PATH") from e
    digits = datasets.load_digits()
    greys = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    factor = SIDE // greys.shape[1]
    large = greys.repeat(factor, axis=1).repeat(factor, axis=2)
    whole = Split(np.repeat(large[:, None], 3, axis=1), digits.target.astype(np.int64))
    names = tuple(str(name) for name in digits.target_names)
    return assemble("digits", names, whole, test=None)
