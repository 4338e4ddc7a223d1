"""Measurements that a member asks for with `measure`, as one table: a file each, which is imported when it is used.

    base: {measure: [jacobian, signal], measure_at: [0, 30]}

An entry says what is recorded and where its function is; `trainers.measurements.subject` says what the function is
given. What is always recorded is in `trainers.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainers.measurements.histogram import METRICS as _HISTOGRAM
from trainers.measurements.measurement import Measurement as Measurement
from trainers.measurements.measurement import Metric as Metric
from trainers.measurements.measurement import by_step, with_activation

MEASUREMENTS: Mapping[str, Measurement] = {
    # a file each
    "jacobian": Measurement(
        "singular values of the Jacobian of the logits by the image",
        "trainers.measurements.jacobian:jacobian",
        network={
            "jacobian.largest": Metric("largest singular value of the logits' Jacobian, median over images", log=True),
            "jacobian.smallest": Metric("smallest one that the layers' widths allow, median over images", log=True),
            "jacobian.mean_square": Metric(
                "sum of their squares over the number of logits, mean over images", log=True
            ),
            "jacobian.condition": Metric("the largest over the smallest, median over images", log=True),
        },
    ),
    "signal": Measurement(
        "what mean-field theory follows from layer to layer, and whether a layer is dead",
        "trainers.measurements.signal:signal",
        network={"signal.born_dead": Metric("1 where in some layer every unit is exactly 0 for every image, else 0")},
        layer={
            "signal.variance": Metric("mean square of the pre-activations z: theory's q", log=True),
            "signal.correlation": Metric("mean cosine between two images' z: theory's c"),
            "signal.noise_correlation": Metric("mean cosine between the z of an image and of its noisy copy"),
            "signal.zero": Metric("share of units that are exactly 0 for every image"),
            "signal.slope": Metric("mean |F'(z)|, F the activation with its scaling"),
            "signal.squared_slope": Metric("mean F'(z)^2: theory's chi over sigma_w^2"),
        },
        rows=with_activation,
    ),
    "sharpness": Measurement(
        "the largest eigenvalue of the loss's Hessian, and the gradient noise scale",
        "trainers.measurements.sharpness:sharpness",
        network={
            "sharpness.largest": Metric("largest eigenvalue of the Hessian of the loss, without the penalty", log=True),
            "sharpness.edge": Metric("2 / learning rate, the mean over the epoch's steps", log=True),
            "sharpness.noise_scale": Metric(
                "gradient noise scale tr(S) / |G|^2, in images; infinite where it can't be told from the probe",
                log=True,
            ),
        },
    ),
    "saddle": Measurement(
        "whether a network acts as a deep linear one: the inner products of weights and gradient",
        "trainers.measurements.saddle:saddle",
        network={
            "saddle.spread": Metric(
                "largest minus smallest of the layers' products, over their mean size; 0 in a deep linear network",
                log=True,
            ),
        },
        layer={
            "saddle.product": Metric("inner product of the weights and the loss's gradient by them, <W, dL/dW>"),
            "saddle.linear": Metric("share of the mean square of F(z) that a multiple of z accounts for; 1: linear"),
        },
    ),
    "per_image": Measurement(
        "the gradient of each image's own loss, and that of a step",
        "trainers.measurements.per_image:per_image",
        network={
            "gradient.image.mean_abs": Metric(
                "mean absolute value of the gradient of an image's own loss, mean over images", log=True
            ),
            "gradient.step.mean_abs": Metric(
                "mean absolute value of what the optimizer sees: of a batch, with a coupled penalty, clipped", log=True
            ),
            "gradient.step.rms": Metric("root mean square of the same", log=True),
        },
    ),
    "histogram": Measurement(
        "the gradient's coordinates and the activations of each layer by decade",
        "trainers.measurements.histogram:histogram",
        layer=_HISTOGRAM,
    ),
    "hidden": Measurement(
        "the gradient by the hidden state of a recurrent layer at each step",
        "trainers.measurements.hidden:hidden",
        network={
            "gradient.hidden.first_to_last": Metric(
                "rms of the loss's gradient by the hidden state after the first step over that after the last", log=True
            ),
            "gradient.cell.first_to_last": Metric(
                "the same of an LSTM's cell; of the hidden state where there is no cell", log=True
            ),
        },
        layer={
            "gradient.hidden.rms": Metric("root mean square of an image's loss's gradient by the state h", log=True),
            "gradient.hidden.mean_abs": Metric("mean absolute value of the same", log=True),
            "gradient.cell.rms": Metric("root mean square by an LSTM's cell c; by h where there is no cell", log=True),
        },
        rows=by_step,
        needs="recurrent",
    ),
    "lyapunov": Measurement(
        "Lyapunov exponents of a recurrent layer along the sequence",
        "trainers.measurements.lyapunov:lyapunov",
        network={
            "lyapunov.largest": Metric("the largest exponent, in nats per step; mean over images"),
            "lyapunov.mean": Metric("the mean over all exponents: log |det| of a step's Jacobian per dimension"),
            "lyapunov.positive": Metric("how many exponents are above 0, in whose directions states move apart"),
        },
        needs="recurrent",
    ),
}
