"""Every kind of wrong spec, with the line that its user gets: where, what, and what would be right."""

# ruff: noqa: E501 (messages are compared whole)
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from search_spaces.space import SEARCHABLE
from sweeps.spec.reading import LARGEST, Resources, SweepSpec, parse, read
from trainers.activations import ACTIVATIONS, Activation
from trainers.errors import SpecError

ARMS = "name: x\narms: {plain: {}}\n"
SPACE = "name: x\nsearch:\n  configurations: 4\n  space:\n    "
RANGE = SPACE + "r: {low: 0, high: 1}\n  "

WRONG = [
    ("", "1: a spec is a mapping that begins with name: ..., but this is empty"),
    ("# nothing\n", "1: a spec is a mapping that begins with name: ..., but this is empty"),
    ("- a\n- b\n", "1: a spec is a mapping that begins with name: ..., but this is ['a', 'b']"),
    ("just text\n", "1: a spec is a mapping that begins with name: ..., but this is 'just text'"),
    (ARMS + "name: y\n", "3: name: given twice, first in line 1"),
    ("a: &x [1]\nb: *x\n", "2: aliases are not read: write out what *x stands for"),
    (
        ARMS + "base: {regime: combined\n",
        "4: not YAML: while parsing a flow mapping, expected ',' or '}', but got '<stream end>'",
    ),
    (ARMS + "seeds: !!set {1}\n", "3: seeds: tags are not read: tag:yaml.org,2002:set"),
    (ARMS + "question: \u0007\n", "3: not text: it has the character U+0007"),
    ("[" * 50, "1: nested more than 20 deep"),
    ("arms: {plain: {}}\n", "1: name: is missing"),
    (
        "name: Quick Start\narms: {plain: {}}\n",
        "1: name: must be 1 to 47 of a-z, 0-9 and -, begin with a letter and not end with -, but got 'Quick Start'",
    ),
    ("name: 1e-4\narms: {plain: {}}\n", "1: name: must be text, but got 0.0001"),
    (
        "name: x-\narms: {plain: {}}\n",
        "1: name: must be 1 to 47 of a-z, 0-9 and -, begin with a letter and not end with -, but got 'x-'",
    ),
    (
        "name: " + "x" * 48 + "\narms: {p: {}}\n",
        "1: name: must be 1 to 47 of a-z, 0-9 and -, begin with a letter and not end with -, but got 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'",
    ),
    ("name: x\n", "1: there is nothing to run: give arms, or search, or both"),
    ("name: x\narms: {}\n", "1: there is nothing to run: give arms, or search, or both"),
    ("name: x\narms: {my arm: {}}\n", "2: arms.my arm: the name of an arm must be 1 to 47 of a-z, A-Z, 0-9, _ and -"),
    ("name: x\narms:\n  plain:\n", "3: arms.plain: must be a mapping of keys to values, but got null"),
    ("name: x\narms: [plain]\n", "2: arms: must be a mapping of keys to values, but got ['plain']"),
    (
        ARMS + "basis: {}\n",
        "3: basis: unknown key; did you mean base? Known are " + ", ".join(SweepSpec.model_fields),
    ),
    (ARMS + "base: {epoch: 3}\n", "3: base.epoch: unknown key; did you mean epochs? `gradsweep fields` lists them"),
    (ARMS + "base: {alpha: 2.0}\n", "3: base.alpha: unknown key; alpha is given in arms and searched in search.space"),
    (ARMS + "base: {seed: 2}\n", "3: base.seed: unknown key; the seeds of all configurations are given by seeds"),
    (ARMS + "base: {epochs: ten}\n", "3: base.epochs: must be a whole number, but got 'ten'"),
    (ARMS + "base: {epochs: 1e1}\n", "3: base.epochs: must be a whole number, but got 10.0"),
    (ARMS + "base: {epochs: -1}\n", "3: base.epochs: epochs >= 0 must hold and be finite, but got -1"),
    (ARMS + "base: {epochs: true}\n", "3: base.epochs: must be a whole number, but got true"),
    (ARMS + "base: {learning_rate: 1e-3x}\n", "3: base.learning_rate: must be a number, but got '1e-3x'"),
    (ARMS + "base: {learning_rate: .inf}\n", "3: base.learning_rate: must be a finite number, but got .inf"),
    (
        ARMS + "base: {activation: tan}\n",
        "3: base.activation: activation must be one of " + ", ".join(ACTIVATIONS) + ", but got 'tan'",
    ),
    (
        ARMS + "base: {data: mnist}\n",
        "3: base.data: data must be digits, cifar10, folder:PATH, adding:STEPS[:SEED] or copy:STEPS[:SEED], "
        "but got 'mnist'",
    ),
    (
        ARMS + "base: {data: 'copy:48'}\n",
        "3: base.data: data 'copy:48': STEPS must be a power of two from 2 to 1024, and SEED a whole number, "
        "but got '48'",
    ),
    (ARMS + "base: {data: 5}\n", "3: base.data: must be text, but got 5"),
    (ARMS + "base: {dense_bias: on}\n", "3: base.dense_bias: must be true or false, but got 'on'"),
    (
        ARMS + "base: {initialization: normal}\n",
        "3: base.init_scale: init_scale must be given where initialization is 'normal': the combined regime's own is for 'uniform'",
    ),
    (ARMS + "base: 5\n", "3: base: must be a mapping of keys to values, but got 5"),
    (ARMS + "base:\n", "3: base: must be a mapping of keys to values, but got null"),
    (ARMS + "seeds: 0\n", "3: seeds: must be a count from 1 to 10000 or a list of seeds, but got 0"),
    (ARMS + "seeds: many\n", "3: seeds: must be a count from 1 to 10000 or a list of seeds, but got 'many'"),
    (ARMS + "seeds: [1, 1]\n", "3: seeds.1: the seeds must differ, but got 1 twice"),
    (
        ARMS + "seeds: [1, -2, x]\n",
        "3: seeds.1: must be a whole number >= 0, but got -2\n3: seeds.2: must be a whole number >= 0, but got 'x'",
    ),
    (ARMS + "seeds: []\n", "3: seeds: must be a count from 1 to 10000 or a list of seeds, but got []"),
    ("name: x\narms:\n  paper: {alpha: 0}\n", "3: arms.paper.alpha: alpha > 0 must hold and be finite, but got 0.0"),
    (
        "name: x\narms:\n  paper: {alfa: 2}\n",
        "3: arms.paper.alfa: unknown key; did you mean alpha? `gradsweep fields` lists them",
    ),
    (
        "name: x\narms:\n  paper: {initialization: normal}\n",
        "3: arms.paper: init_scale must be given where initialization is 'normal': the combined regime's own is for 'uniform'",
    ),
    (ARMS + "claim: paper\n", "3: claim: must be the name of an arm, but got 'paper'; known are plain"),
    (
        ARMS + "objective: {metric: validation.acc}\n",
        "3: objective.metric: unknown metric 'validation.acc'; did you mean validation.accuracy? Known are train.loss, train.accuracy, validation.loss, validation.accuracy, test.accuracy, gradient.first_to_last, saturated, dead, dead_layers, seconds, and those of gradients and layers that `gradsweep metrics` lists",
    ),
    (
        ARMS + "objective: {metric: nonsense}\n",
        "3: objective.metric: unknown metric 'nonsense'; known are train.loss, train.accuracy, validation.loss, validation.accuracy, test.accuracy, gradient.first_to_last, saturated, dead, dead_layers, seconds, and those of gradients and layers that `gradsweep metrics` lists",
    ),
    (
        ARMS + "objective: {metric: test.accuracy}\n",
        "3: objective.metric: must not be of the test split, which is only reported; validation.accuracy is its like",
    ),
    (
        ARMS + "objective: {goal: max}\n",
        "3: objective.goal: must be maximize, minimize or {near: NUMBER}, but got 'max'",
    ),
    (
        ARMS + "objective:\n  - {metric: train.loss, goal: minimize}\n  - {metric: trian.loss}\n",
        "5: objective.1.metric: unknown metric 'trian.loss'; did you mean train.loss? Known are train.loss, train.accuracy, validation.loss, validation.accuracy, test.accuracy, gradient.first_to_last, saturated, dead, dead_layers, seconds, and those of gradients and layers that `gradsweep metrics` lists",
    ),
    (
        ARMS + "objective:\n  - {}\n  - {}\n",
        "5: objective.1.metric: the objectives must differ, but got validation.accuracy twice",
    ),
    (ARMS + "objective: []\n", "3: objective: must not be empty"),
    (
        ARMS + "objective: validation.accuracy\n",
        "3: objective: must be a mapping of keys to values, but got 'validation.accuracy'",
    ),
    (
        ARMS + "objective:\n  metric: layer.dense9.dead\n",
        "4: objective.metric: unknown metric 'layer.dense9.dead'; did you mean layer.dense3.dead? Known are train.loss, train.accuracy, validation.loss, validation.accuracy, test.accuracy, gradient.first_to_last, saturated, dead, dead_layers, seconds, and those of gradients and layers that `gradsweep metrics` lists",
    ),
    (ARMS + "resources: {cpus: 0}\n", "3: resources.cpus: must be at least 1, but got 0"),
    (ARMS + "resources: {pack: 2.5}\n", "3: resources.pack: must be a whole number, but got 2.5"),
    (
        ARMS + "resources: {concurrent: all}\n",
        "3: resources.concurrent: must be auto or a whole number >= 1, but got 'all'",
    ),
    (
        ARMS + "resources: {gpu: 1}\n",
        "3: resources.gpu: unknown key; did you mean gpus? Known are " + ", ".join(Resources.model_fields),
    ),
    (ARMS + "resources: {gpus: -1}\n", "3: resources.gpus: must be at least 0, but got -1"),
    (ARMS + "resources: {gpus: 2}\n", "3: resources.gpus: must be at most 1, but got 2"),
    (ARMS + "tracking: {uri: 5}\n", "3: tracking.uri: must be text, but got 5"),
    (ARMS + "tracking: {url: x}\n", "3: tracking.url: unknown key; did you mean uri? Known are uri, notify"),
    (SPACE + "alpha: {low: 0.5, high: 0.1}\n", "5: search.space.alpha.low: low < high must hold, but got 0.5 and 0.1"),
    (SPACE + "alpha: {low: 0.5}\n", "5: search.space.alpha.high: is missing"),
    (SPACE + "alpha: {low: a, high: 2}\n", "5: search.space.alpha.low: low must be a finite number, but got 'a'"),
    (
        SPACE + "alpha: {low: 0, high: 2, log: true}\n",
        "5: search.space.alpha.low: low > 0 must hold where log is true, but got 0",
    ),
    (
        SPACE + "alpha: {low: 1, high: 2, step: 1}\n",
        "5: search.space.alpha.step: unknown key; known are low, high, log, integer, when, values",
    ),
    (SPACE + "alpha: 5\n", "5: search.space.alpha: must be a range like {low: 1, high: 2} or a list, but got 5"),
    (SPACE + "alpha: []\n", "5: search.space.alpha: a choice must have at least one value, but got none"),
    (SPACE + "alpha: [1, 1.0]\n", "5: search.space.alpha: the values of a choice must differ, but got 1.0 twice"),
    (SPACE + "alpha: [1, two]\n", "5: search.space.alpha.1: must be a number, but got 'two'"),
    (
        SPACE + "alpah: [1, 2]\n",
        "5: search.space.alpah: unknown key; did you mean alpha? `gradsweep fields` lists them",
    ),
    (
        SPACE + "seed: [1, 2]\n",
        "5: search.space.seed: can't be searched; can be: " + ", ".join(SEARCHABLE),
    ),
    (
        SPACE + "data: [digits, cifar10]\n",
        "5: search.space.data: can't be searched; can be: " + ", ".join(SEARCHABLE),
    ),
    (
        SPACE + "activation: {low: 1, high: 2}\n",
        "5: search.space.activation: activation is text: give a list to choose from, not a range",
    ),
    (
        SPACE + "activation: [tanh, relo]\n",
        "5: search.space.activation.1: activation must be one of " + ", ".join(ACTIVATIONS) + ", but got 'relo'",
    ),
    (SPACE + "r: {low: -1, high: 1}\n", "5: search.space.r.low: r >= 0 must hold and be finite, but got -1"),
    (
        SPACE + "epochs: {low: 1.5, high: 3}\n",
        "5: search.space.epochs.low: low must be a whole number where integer is true, but got 1.5",
    ),
    (
        SPACE + "epochs: {low: 1, high: 3, integer: false}\n",
        "5: search.space.epochs.integer: must be true, or left out: this field is a whole number",
    ),
    (
        SPACE + "alpha: {low: 1, high: 2}\nbase: {activation: relu}\n",
        "5: search.space.alpha: has no effect: rescaling does not change relu; leave alpha out",
    ),
    (
        "name: x\nsearch: {configurations: 3, space: {}}\n",
        "2: search.space: must have something to search; leave search out for the arms alone",
    ),
    (
        "name: x\nsearch: {space: {r: [0, 1]}}\n",
        "2: search.configurations: is missing: how many to try, besides the arms",
    ),
    (
        "name: x\nsearch: {configurations: 0, space: {r: [0, 1]}}\n",
        "2: search.configurations: must be at least 1, but got 0",
    ),
    ("name: x\nsearch: {configurations: 3}\n", "2: search.space: is missing"),
    (
        "name: x\nsearch: {configurations: 3, space: [r]}\n",
        "2: search.space: must be a mapping of keys to values, but got ['r']",
    ),
    ("name: x\nsearch: [1]\n", "2: search: must be a mapping of keys to values, but got [1]"),
    (
        RANGE + "sampler: {name: tpee}",
        "6: search.sampler.name: unknown sampler 'tpee'; did you mean tpe? Known are tpe, random, grid, qmc, gp, cmaes, nsga2",
    ),
    (RANGE + "sampler: tpe", "6: search.sampler: must be a mapping with a name, but got 'tpe'"),
    (RANGE + "sampler: {seed: 1}", "6: search.sampler.name: is missing"),
    (
        RANGE + "sampler: {name: tpe, n_startup: 5}",
        "6: search.sampler.n_startup: sampler tpe has no option 'n_startup'; did you mean n_startup_trials? Known are consider_endpoints, consider_magic_clip, consider_prior, constant_liar, group, multivariate, n_ei_candidates, n_startup_trials, prior_weight, seed, warn_independent_sampling",
    ),
    (
        RANGE + "sampler: {name: tpe, n_startup_trials: x}",
        "6: search.sampler.n_startup_trials: must be a whole number, but got 'x'",
    ),
    (
        RANGE + "sampler: {name: tpe, gamma: 5}",
        "6: search.sampler.gamma: sampler tpe has no option 'gamma'; known are consider_endpoints, consider_magic_clip, consider_prior, constant_liar, group, multivariate, n_ei_candidates, n_startup_trials, prior_weight, seed, warn_independent_sampling",
    ),
    (
        RANGE + "sampler: {name: tpe, prior_weight: 2.0}",
        "6: search.sampler: sampler tpe: `prior_weight` has been deprecated in v4.9.0. This feature will be removed in v6.0.0. See https://github.com/optuna/optuna/releases/tag/v4.9.0.",
    ),
    (RANGE + "sampler: {name: tpe, seed: -1}", "6: search.sampler.seed: seed must be a whole number >= 0, but got -1"),
    (
        RANGE + "sampler: {name: nsga2, population_size: 1}",
        "6: search.sampler: sampler nsga2: `population_size` must be greater than or equal to 2.",
    ),
    (
        RANGE + "sampler: {name: grid}",
        "6: search.sampler.points: sampler grid needs points, the number of values to take from each range: r from 0 to 1 has no finite set of values",
    ),
    (
        RANGE + "sampler: {name: grid, points: 3}",
        "3: search.configurations: must be at most 3, the size of the grid, but got 4",
    ),
    (
        RANGE + "sampler: {name: grid, points: 0}",
        "6: search.sampler.points: 1 <= points <= 100000 must hold, but got 0",
    ),
    (
        RANGE + "sampler: {name: random, points: 0}",
        "6: search.sampler.points: sampler random has no option 'points'; known are seed",
    ),
    (
        RANGE + "pruner: {name: ash}",
        "6: search.pruner.name: unknown pruner 'ash'; did you mean asha? Known are asha, hyperband, median, percentile, threshold, patient",
    ),
    (
        RANGE + "pruner: {name: wilcoxon}",
        "6: search.pruner.name: unknown pruner 'wilcoxon'; known are asha, hyperband, median, percentile, threshold, patient",
    ),
    (
        RANGE + "pruner: {name: asha, reduction: 1}",
        "6: search.pruner.reduction: must be a whole number >= 2, but got 1",
    ),
    (
        RANGE + "pruner: {name: asha, min_epochs: 0}",
        "6: search.pruner.min_epochs: must be a whole number >= 1, but got 0",
    ),
    (
        RANGE + "pruner: {name: asha, reduction: 3, reduction_factor: 3}",
        "6: search.pruner.reduction_factor: reduction and reduction_factor are the same; give one",
    ),
    (RANGE + "pruner: {name: percentile}", "6: search.pruner.percentile: is missing: pruner percentile needs a number"),
    (
        RANGE + "pruner: {name: threshold}",
        "6: search.pruner: pruner threshold: Either lower or upper must be specified.",
    ),
    (
        RANGE + "pruner: {name: patient, patience: 2, wrapped_pruner: {name: median, x: 2}}",
        "6: search.pruner.wrapped_pruner: x: pruner median has no option 'x'; known are interval_steps, min_epochs, n_min_trials, n_startup_trials, n_warmup_steps",
    ),
    (
        RANGE + "pruner: {name: patient, patience: 2, wrapped_pruner: median}",
        "6: search.pruner.wrapped_pruner: must be a pruner like {name: median}, but got 'median'",
    ),
    (
        RANGE + "pruner: {name: hyperband, min_epochs: 50}",
        "6: search.pruner.min_epochs: min_epochs <= max_epochs must hold, but got 50 and 30",
    ),
    (RANGE + "pruner: asha", "6: search.pruner: must be a mapping with a name, but got 'asha'"),
    (
        RANGE + "pruner: {name: percentile, percentile: 200}",
        "6: search.pruner: pruner percentile: Percentile must be between 0 and 100 inclusive, but got percentile=200.",
    ),
    (
        RANGE + "pruner: {name: asha, min_resource: often}",
        "6: search.pruner: pruner asha: The value of `min_resource` is often, but must be either `min_resource` >= 1 or 'auto'",
    ),
    (
        RANGE + "sampler: {name: cmaes}\nobjective: [{}, {metric: train.loss, goal: minimize}]",
        "6: search.sampler.name: sampler cmaes can't search for several objectives; tpe, random, grid, qmc, gp, nsga2 can",
    ),
    (
        RANGE + "pruner: {name: asha}\nobjective: [{}, {metric: train.loss, goal: minimize}]",
        "6: search.pruner: a pruner compares one objective, but there are 2: leave it out",
    ),
    (
        "name: x\nsearch: {space: {r: [0, 1]}, configurations: 3, sampler: {name: grid}}",
        "2: search.configurations: must be at most 2, the size of the grid, but got 3",
    ),
    (
        "name: x\nsearch:\n  configurations: 9\n  space: {r: [0, 1], activation: [tanh, relu], alpha: [1, 2]}\n  sampler: {name: grid}\n",
        "3: search.configurations: must be at most 6, the size of the grid, but got 9",
    ),
]


SCALE = SPACE + "initialization: [uniform, he_normal]\n    init_scale: "
WRONG += [
    (
        SCALE + "{low: 0.1, high: 10}\n",
        "6: search.space.init_scale: is the half-width of uniform and the factor of he_normal: "
        "keep it to one unit, as by when: {initialization: uniform}",
    ),
    (
        SCALE + "{low: 0.1, high: 10, when: {initialization: [uniform, he_normal]}}\n",
        "6: search.space.init_scale: is the half-width of uniform and the factor of he_normal: "
        "keep it to one unit, as by when: {initialization: uniform}",
    ),
    (
        SPACE + "regime: [combined, many-layers]\n    init_scale: {low: 0.1, high: 10}\n",
        "6: search.space.init_scale: is the half-width of uniform and the deviation of normal: "
        "keep it to one unit, as by when: {initialization: uniform}",
    ),
    (
        SCALE + "\n      low: 0.1\n      high: 10\n      when:\n        initialization: glorot_normal\n",
        "10: search.space.init_scale.when.initialization: initialization is never 'glorot_normal' in this search: "
        "it is 'uniform' or 'he_normal'",
    ),
    (
        SCALE + "{low: 0.1, high: 10, when: {initialization: [uniform, nomal]}}\n",
        "6: search.space.init_scale.when.initialization.1: initialization is never 'nomal' in this search: "
        "it is 'uniform' or 'he_normal'",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: {initialization: normal}}\n",  # the regime's own is uniform
        "5: search.space.r.when.initialization: initialization is never 'normal' in this search: it is 'uniform'",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: {batch_size: 7}}\n    batch_size: {low: 8, high: 16}\n",
        "5: search.space.r.when.batch_size: batch_size is never 7 in this search: it is from 8 to 16",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: {activaton: tanh}}\n",
        "5: search.space.r.when.activaton: unknown field; did you mean activation? `gradsweep fields base` lists them",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: {epochs: [10, many]}}\n",
        "5: search.space.r.when.epochs: must be a whole number, or a list of which one holds, but got 'many'",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: {activation: []}}\n",
        "5: search.space.r.when.activation: must be text, or a list of which one holds, but got none",
    ),
    (
        SPACE + "r: {low: 0, high: 1, when: tanh}\n",
        "5: search.space.r.when: must be a mapping like {initialization: uniform}, but got 'tanh'",
    ),
    (
        SPACE + "penalty: {values: [l2, l1], when: {r: 0.5}}\n    r: {low: 0, high: 1, when: {penalty: l2}}\n",
        "5: search.space.penalty.when.r: conditions must not go in a circle: penalty -> r -> penalty",
    ),
    (
        SPACE + "activation: {values: [tanh, relu], when: {alpha: 2}}\n    alpha: {low: 1, high: 4}\n",
        "5: search.space.activation.when.alpha: conditions must not go in a circle: activation -> alpha -> activation",
    ),
    (
        SPACE + "activation: {values: [tanh, tanhh], when: {regime: combined}}\n",
        "5: search.space.activation.values.1: activation must be one of "
        + ", ".join(ACTIVATIONS)
        + ", but got 'tanhh'",
    ),
    (SPACE + "activation: {values: [tanh, 3]}\n", "5: search.space.activation.values.1: must be text, but got 3"),
    (
        SPACE + "activation: {values: [tanh], wen: {}}\n",
        "5: search.space.activation.wen: unknown key; did you mean when? Known are low, high, log, integer, when, values",
    ),
    (
        ARMS + "objective: {goal: {near: one}}\n",
        "3: objective.goal.near: must be a number, but got 'one'",
    ),
    (
        ARMS + "objective: {goal: {nearly: 1}}\n",
        "3: objective.goal: must be maximize, minimize or {near: NUMBER}, but got {'nearly': 1}",
    ),
    (
        ARMS + "objective:\n  metric: gradient.first_to_last\n  goal: {near: 0}\n",
        "5: objective.goal.near: must be above 0, since the distance of gradient.first_to_last is one of logarithms, "
        "but got 0",
    ),
    (
        ARMS + "objective: {epoch: first}\n",
        "3: objective.epoch: must be last, best, {mean_of_last: 5} or {first_above: 0.5}, but got 'first'",
    ),
    (
        ARMS + "objective: {epoch: {mean_of_last: 0}}\n",
        "3: objective.epoch.mean_of_last: must be a whole number >= 1, but got 0",
    ),
    (
        ARMS + "objective: {epoch: {first_above: high}}\n",
        "3: objective.epoch.first_above: must be a number, but got 'high'",
    ),
    (
        ARMS + "objective: {goal: maximize, epoch: {first_above: 0.5}}\n",
        "3: objective.goal: must be minimize, or left out, where epoch is first_above (the earlier, the better), "
        "but got 'maximize'",
    ),
    (
        ARMS + "objective: [{epoch: best}, {}, {epoch: best}]\n",
        "3: objective.2.metric: the objectives must differ, but got validation.accuracy at its best epoch twice",
    ),
]
SETTINGS = [
    ("base.epochs=two", "base.epochs: must be a whole number, but got 'two'"),
    ("base.epoch=2", "base.epoch: unknown key; did you mean epochs? `gradsweep fields` lists them"),
    ("epochs", "must be key=value, with a dotted key like base.epochs=2"),
    ("=2", "must be key=value, with a dotted key like base.epochs=2"),
    ("base..epochs=2", "must be key=value, with a dotted key like base.epochs=2"),
    ("base.epochs.x=2", "base.epochs: has no 'x' to set: it is 3"),
    ("seeds=[1,1]", "seeds.1: the seeds must differ, but got 1 twice"),
    ("seeds=", "seeds: must be a count from 1 to 10000 or a list of seeds, but got null"),
    ("arms.plain.alpha=0", "arms.plain.alpha: alpha > 0 must hold and be finite, but got 0.0"),
    ("arms=null", "arms: must be a mapping of keys to values, but got null"),
    ("search.configurations=3", "search.space: is missing"),
    ("base.epochs={a: 1, a: 2}", "base.epochs: a: given twice, first in line 1"),
    ("objective.2.metric=x", "objective.2: unknown key; known are metric, goal, epoch"),
    (
        "objective.metric=test.accuracy",
        "objective.metric: must not be of the test split, which is only reported; validation.accuracy is its like",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_spec_says_where_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "s.yaml")
    assert caught.value.problems == tuple(f"s.yaml:{line}" for line in message.split("\n"))


@pytest.mark.parametrize(("setting", "message"), SETTINGS)
def test_a_wrong_setting_is_named(setting: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(ARMS + "base: {epochs: 3}\n", "s.yaml", [setting])
    assert caught.value.problems == (f"--set {setting}: {message}",)


def test_all_problems_are_told_at_once() -> None:
    text = ARMS + "base: {epoch: 3, batch_size: big}\nseeds: [1, 1]\nclam: plain\nresources: {pack: 0}\n"
    with pytest.raises(SpecError) as caught:
        parse(text, "s.yaml")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "base.batch_size",
        "base.epoch",
        "seeds.1",
        "resources.pack",
        "clam",
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_an_engine_that_is_named_must_have_code_for_every_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody adds an activation to the table alone; `auto` gives it to the reference engine."""
    monkeypatch.setitem(ACTIVATIONS, "toy", Activation(lambda z: z * z.sigmoid()))
    text = "name: x\nbase: {epochs: 1}\narms:\n  plain: {}\n  toy: {activation: toy, engine: %s}\n"
    assert parse(text % "auto", "s.yaml") and parse(text % "reference", "s.yaml")
    with pytest.raises(SpecError) as caught:
        parse(text % "lanes", "s.yaml")
    assert caught.value.problems == ("s.yaml:5: arms.toy.engine: the lanes engine does not have the activation 'toy'",)


def test_a_thousand_problems_are_not() -> None:
    with pytest.raises(SpecError) as caught:
        parse(ARMS + "".join(f"key{i}: 1\n" for i in range(1000)))
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "... and 980 problems more"


def test_every_problem_is_one_line() -> None:
    with pytest.raises(SpecError) as caught:
        parse(ARMS + '"a\\nb": 1\nclaim: "c\\nd"\nquestion: {a: "' + "x\\n" * 100 + '"}\n')
    assert len(caught.value.problems) == 2
    assert all("\n" not in problem and len(problem) < 300 for problem in caught.value.problems)


def _message(source: Path | str) -> str:
    with pytest.raises(SpecError) as caught:
        read(source)
    (problem,) = caught.value.problems
    return problem


def test_no_file() -> None:
    assert _message("quikstart") == (
        "quikstart: there is no such file, and no shipped study of this name; did you mean quickstart?"
    )


def test_a_folder(tmp_path: Path) -> None:
    assert _message(tmp_path) == f"{tmp_path}: can't be read: Is a directory; a YAML file is wanted"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.touch(mode=stat.S_IWUSR)
    assert _message(file) == f"{file}: can't be read: Permission denied; a YAML file is wanted"


def test_a_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"name: x\n\x80\x04\xff\x00")
    assert _message(file) == f"{file}:2: not text: a spec is YAML in UTF-8"


def test_too_large_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"#" * (LARGEST + 1))
    assert _message(file) == f"{file}: a spec has at most 1 MiB, but this is larger"


def test_a_name_that_no_file_can_have() -> None:
    assert "can't be read" in _message("a\0b")
