"""A network with one of everything: plain and separable, pooled and not, with and without a bias."""

from __future__ import annotations

from trainers.layers import Convolution, Dense, Layer, Pooling

IMAGE = (3, 8, 8)
SMALL: tuple[Layer, ...] = (
    Convolution("conv1"),
    Convolution("conv2", separable=True),
    Pooling("pool1"),
    Convolution("conv3"),
    Pooling("pool2"),
    Dense("dense1", 5, bias=True),
    Dense("dense2", 4),
    Dense("output", 3, bias=True, activated=False),
)
