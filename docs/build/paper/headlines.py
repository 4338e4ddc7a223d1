"""What the paper says, in its words, and the claims that test it under each reading of what it leaves open.

A claim whose own words end in "(not said in the paper)" is on its stage's page alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """One way to read the paper: the claims of a sweep that all have to hold in it."""

    label: str
    sweep: str
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Headline:
    """A statement of the paper with its readings, that of its figures first."""

    says: str
    readings: tuple[Reading, ...]


BATCHES = {"": "batch size 32", "-128": "batch size 128", "-steps": "as many steps at 128"}
INPUTS = {"bytes": "pixels in [0, 255]", "standardized": "inputs standardized"}
TYPES = ("logsigmoid", "arctan", "softsign", "sigmoid")
PLANES = ("large-parameters", "many-layers", "combined")
STRENGTHS = {"r-1e-4": "r = 1e-4", "r-1e-3": "r = 1e-3", "keras": "r as in Keras", "r-1e-1": "r = 0.1"}


def _figure(number: int, *claims: str) -> tuple[Reading, ...]:
    """The figure's own claims at each batch size."""
    other = "-128" if number == 2 else "-steps"
    return tuple(Reading(BATCHES[end], f"figure-{number}{end}", claims) for end in ("", other))


def _inputs(number: int, *claims: str) -> tuple[Reading, ...]:
    """The same where inputs are scaled in other ways."""
    sweep = f"inputs-figure-{number}"
    return tuple(Reading(label, sweep, tuple(f"{i}-{c}" for c in claims)) for i, label in INPUTS.items())


def _all(number: int, *claims: str) -> tuple[Reading, ...]:
    return (*_figure(number, *claims), *_inputs(number, *claims))


HEADLINES = (
    # Figure 1
    Headline("unregularized and regularized training perform very similarly initially", _all(1, "similar-at-first")),
    Headline(
        "after about ten epochs, the regularization improves the accuracies considerably",
        (
            *_all(1, "improves-after-ten-epochs"),
            *(Reading(label, "penalty-strength", (f"{name}-improves",)) for name, label in STRENGTHS.items()),
            Reading("repeated in strength", "penalty-strength", ("paper-improves",)),
            Reading("repeated in optimizers", "optimizers", ("improves-under-adam",)),
            Reading("digits", "second-data", ("figure-1-improves",)),
        ),
    ),
    Headline("regularization leads to larger gradients in the beginning", _all(1, "larger-gradients-at-first")),
    Headline(
        "regularization leads to larger gradients in the beginning (without the penalty's own part)",
        _figure(1, "larger-data-gradients-at-first"),
    ),
    Headline("regularization does not lead to exploding gradients either", _figure(1, "no-exploding-gradients")),
    # Figure 2
    Headline(
        "the larger gradients in the beginning speed up parameter training considerably",
        (
            *_all(2, "speeds-up-training"),
            Reading("epsilon 1e-7, five epochs", "epsilon", ("rescaling-speeds-up-on-the-plateau",)),
        ),
    ),
    Headline(
        "the improvements kick in immediately",
        (*_all(2, "improves-immediately"), Reading("epsilon 1e-14", "epsilon", ("rescaling-speeds-up-at-once",))),
    ),
    Headline(
        "the scaling trick can avoid the vanishing-gradient problem",
        (
            *_figure(2, "improves"),
            Reading("repeated in rivals", "remedies", ("improves",)),
            Reading("digits", "second-data", ("figure-2-improves",)),
            Reading("saturated layers", "why-saturation", ("alpha-2-trains-faster",)),
        ),
    ),
    Headline(
        "the larger gradients in the beginning",
        (
            *_all(2, "larger-gradients-at-first"),
            Reading("before the first step", "why-many-layers", ("rescaling-changes-nothing-at-first",)),
        ),
    ),
    Headline("again without leading to an exploding-gradient problem", _figure(2, "no-exploding-gradients")),
    Headline(
        "naive scaling clearly entails the risk of exploding gradients",
        (*_all(2, "naive-scaling-explodes"), Reading("alpha = 8", "remedies", ("naive-scaling-explodes",))),
    ),
    Headline(
        "naive scaling is no alternative",
        (Reading("accuracy", "remedies", ("as-good-as-naive-scaling",)),),
    ),
    # Figures 3 and 4
    Headline(
        "our remedies can render tanh robust with respect to the vanishing-gradient problem",
        (
            *_all(3, "remedies-work"),
            Reading("repeated in types", "sigmoid-types", ("tanh",)),
            Reading("digits", "second-data", ("figure-3-improves",)),
            Reading("wider layers", "widths", ("remedies-work",)),
        ),
    ),
    Headline(
        "the two remedies can indeed be combined",
        (
            # Where nothing trains, both are as good as either alone. So they have to work, too.
            *_all(3, "as-good-as-l2-alone", "as-good-as-scaling-alone", "remedies-work"),
            Reading("digits", "second-data", ("figure-3-as-good-as-l2-alone", "figure-3-improves")),
            Reading("wider layers", "widths", ("as-good-as-l2-alone", "remedies-work")),
        ),
    ),
    Headline(
        "relu, in this specific example, is not performing well",
        _figure(3, "relu-falls-behind", "regularized-relu-falls-behind"),
    ),
    Headline("the results here corroborate the results above", _figure(3, "larger-gradients-at-first")),
    Headline(
        "virtually the same results as before (with logsigmoid)",
        (
            Reading("both remedies train it", "figure-4", ("remedies-work",)),
            Reading(
                "they can be combined",
                "figure-4",
                ("as-good-as-l2-alone", "as-good-as-scaling-alone", "remedies-work"),
            ),
            Reading("relu is behind", "figure-4", ("relu-falls-behind", "regularized-relu-falls-behind")),
            Reading("larger gradients at first", "figure-4", ("larger-gradients-at-first",)),
        ),
    ),
    # Beside the figures
    Headline(
        "gradients can vanish with increasing depth, while this behavior is avoided with larger alpha",
        (
            Reading(
                "saturated layers", "why-saturation", ("alpha-2-has-larger-gradients", "alpha-4-has-larger-gradients")
            ),
        ),
    ),
    Headline(
        "it is straightforward to transfer our proofs and results to other sigmoid-type activation functions",
        (
            *(Reading(name, "sigmoid-types", (name,)) for name in TYPES),
            Reading("logsigmoid for longer", "figure-4", ("remedies-work",)),
        ),
    ),
    Headline(
        "the two remedies can indeed avoid vanishing gradients in practice",
        tuple(Reading(regime, f"plane-{regime}", ("remedies-work",)) for regime in PLANES),
    ),
    Headline(
        "the fixed choice alpha = 2 is sufficient in practice",
        (
            *(Reading(regime, f"plane-{regime}", ("fixed-choice-suffices",)) for regime in PLANES),
            Reading("beside a learned alpha", "remedies", ("as-good-as-learned-alpha",)),
            Reading("saturated layers", "why-saturation", ("alpha-2-suffices",)),
        ),
    ),
    Headline(
        "our scaling trick could be interpreted as a simpler alternative to batch normalization",
        (Reading("as accurate", "remedies", ("as-good-as-batch-normalization",)),),
    ),
    Headline(
        "batch normalization involves considerable computational overhead",
        (Reading("more than both remedies", "table-4", ("batch-normalization-costs",)),),
    ),
    Headline(
        "our two remedies do not involve significant computational overhead",
        (
            Reading("tanh with both", "table-4", ("no-significant-overhead",)),
            Reading("relu with the penalty", "table-4", ("no-significant-overhead-of-l2",)),
        ),
    ),
    Headline(
        "1057.8 s without and 1385.2 s with both remedies",
        (Reading("at least a fifth more", "table-4", ("overhead-of-table-4",)),),
    ),
    Headline(
        "other types of regularizations, such as l1, are expected to avoid vanishing gradients",
        (Reading("l1 trains", "penalties", ("l1-helps",)), Reading("as l2 does", "penalties", ("l1-similar-to-l2",))),
    ),
)
