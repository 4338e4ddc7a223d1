"""Whether a network acts as a deep linear one, and how far its layers are from a linear network's balance.

The loss is the mean data loss over the images, without the penalty.

- `layer.NAME.saddle.product`: <W, dL/dW>, the inner product of a layer's weights with the loss's gradient by them.
  Biases and what normalizations and activations learn are left out. Of a separable convolution it is the mean over its
  two factors, of a recurrent layer that of the weights which read the input.
- `saddle.spread`: the largest product minus the smallest, over the mean of their absolute values: 0 where all are
  equal, and at most the number of layers. NaN where all products are 0, as in a network that is dead.
- `layer.NAME.saddle.linear`: how linear the activation acts, the share of the mean square of F(z) that the multiple of
  z nearest to it accounts for: <F, z>^2 / (<F, F> <z, z>), over images and units. It is 1 where F(z) is proportional
  to z: for a tanh near 0, and for a relu whose units are all on. It is 1/2 for a relu of normal z of mean 0, and 0.64
  for a tanh so saturated that it is the sign of such z. A constant counts as what is not linear, as of a sigmoid.
  Where a layer has no activation it is 1, and NaN where z or F(z) is 0 everywhere.

The logits of a network of layers in a row without biases, with activations for which F(c z) = c F(z), c > 0 (none,
relu), and max pooling, are multiplied by c if one layer's weights are. So by Euler's theorem <W, dL/dW> is the same
number in all of its layers, the mean of <logits, dL/dlogits> over images; the flow of the gradient then leaves the
differences of the layers' |W|^2 as they are (Du et al. 2018, arXiv:1806.00900). A spread near 0 with `linear` near 1
is what a deep linear network shows. At its saddle, where all weights are small, the products are small too. Biases add
<b, dL/db> to what is the same; normalizations and residual connections break the law.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.activations import ACTIVATIONS
from trainers.layers import Place, places
from trainers.losses import LOSSES
from trainers.measurements.subject import Subject


def saddle(subject: Subject) -> dict[str, float]:
    """See the module."""
    parameters = subject.parameters.clone().requires_grad_()
    outputs = subject.forward(parameters)
    loss = LOSSES[subject.member.loss].of(outputs.logits, subject.labels, "mean")
    (gradient,) = torch.autograd.grad(loss, parameters)
    placed = places(subject.layers)
    products = [product(place, subject.parameters, gradient) for place in placed]
    linear = dict.fromkeys((place.name for place in placed), 1.0)
    f = ACTIVATIONS[subject.member.activation].f
    for name, (u, slope) in zip(subject.alphas, outputs.arguments, strict=True):
        # F(z) and z are multiples of f(u) and u
        linear[name] = alignment(u.detach(), f(u, *(() if slope is None else (slope,))).detach())
    values = {"saddle.spread": spread(products)}
    for place, of_layer in zip(placed, products, strict=True):
        values[f"layer.{place.name}.saddle.product"] = of_layer
        values[f"layer.{place.name}.saddle.linear"] = linear[place.name]
    return values


def product(place: Place, parameters: Tensor, gradient: Tensor) -> float:
    """<W, dL/dW> of one layer; `parameters` and `gradient` are the network's, (parameters,)."""
    sizes = [math.prod(shape) for shape in place.tensors]
    pairs = zip(*(torch.split(vector[place.where], sizes) for vector in (parameters, gradient)), strict=True)
    products = [float(w @ g) for shape, (w, g) in zip(place.tensors, pairs, strict=True) if len(shape) > 1]
    if place.kind == "recurrent":
        return products[0]
    return sum(products) / len(products)


def spread(products: list[float]) -> float:
    """Largest minus smallest over the mean size; NaN where that is 0."""
    size = sum(map(abs, products)) / len(products)
    return (max(products) - min(products)) / size if size else math.nan


def alignment(z: Tensor, out: Tensor) -> float:
    """<F, z>^2 / (<F, F> <z, z>) of tensors of the same shape; NaN where one is 0."""
    z, out = z.flatten() / z.abs().max(), out.flatten() / out.abs().max()  # whose squares neither vanish nor overflow
    return float((out @ z) ** 2 / ((out @ out) * (z @ z)))
