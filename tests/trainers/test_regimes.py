"""Every row of the paper's Tables 1 to 3, as they are printed there."""

from math import prod

import pytest

from trainers.layers import IMAGE, Convolution, Pooling, output_shapes, parameter_count, places
from trainers.regimes import REGIMES, network

CONV, POOL, DENSE = "3-by-3 convolution", "Max pooling", "Dense"

TABLES = {
    "large-parameters": [
        (CONV, (32, 32, 3), 36),
        (CONV, (32, 32, 3), 36),
        (POOL, (16, 16, 3), 0),
        (CONV, (16, 16, 3), 36),
        (CONV, (16, 16, 3), 36),
        (POOL, (8, 8, 3), 0),
        (CONV, (8, 8, 3), 36),
        (CONV, (8, 8, 3), 36),
        (POOL, (4, 4, 3), 0),
        (DENSE, (8,), 392),
        (DENSE, (10,), 90),
    ],
    "many-layers": [
        (CONV, (32, 32, 3), 3),
        (CONV, (32, 32, 3), 3),
        (CONV, (32, 32, 3), 3),
        (POOL, (16, 16, 3), 3),
        (CONV, (16, 16, 3), 3),
        (CONV, (16, 16, 3), 3),
        (CONV, (16, 16, 3), 3),
        (POOL, (8, 8, 3), 3),
        (CONV, (8, 8, 3), 3),
        (CONV, (8, 8, 3), 3),
        (CONV, (8, 8, 3), 3),
        (POOL, (4, 4, 3), 3),
        (DENSE, (8,), 384),
        (DENSE, (8,), 64),
        (DENSE, (8,), 64),
        (DENSE, (8,), 64),
        (DENSE, (10,), 80),
    ],
    "combined": [
        (CONV, (32, 32, 3), 3),
        (CONV, (32, 32, 3), 3),
        (POOL, (16, 16, 3), 3),
        (CONV, (16, 16, 3), 3),
        (CONV, (16, 16, 3), 3),
        (POOL, (8, 8, 3), 3),
        (CONV, (8, 8, 3), 3),
        (CONV, (8, 8, 3), 3),
        (POOL, (4, 4, 3), 3),
        (DENSE, (8,), 384),
        (DENSE, (8,), 64),
        (DENSE, (8,), 64),
        (DENSE, (10,), 80),
    ],
}


@pytest.mark.parametrize("regime", TABLES)
def test_every_row_of_the_table(regime: str) -> None:
    layers = network(regime)
    kinds = {Convolution: CONV, Pooling: POOL}
    shapes = [(s[1], s[2], s[0]) if len(s) == 3 else s for s in output_shapes(layers)]
    rows = [
        (kinds.get(type(layer), DENSE), shape, count)
        for layer, shape, count in zip(layers, shapes, REGIMES[regime].paper_counts, strict=True)
    ]
    assert rows == TABLES[regime]


@pytest.mark.parametrize("regime", TABLES)
def test_our_counts_are_the_papers_where_it_counts_parameters(regime: str) -> None:
    counts = {place.name: sum(map(prod, place.tensors)) for place in places(network(regime))}
    for layer, paper in zip(network(regime), REGIMES[regime].paper_counts, strict=True):
        if isinstance(layer, Convolution) and REGIMES[regime].paper_counts_what == "filters":
            assert layer.channels == paper
            assert counts[layer.name] == 3 * 3 * 3 * 3
        elif not isinstance(layer, Pooling):
            assert counts[layer.name] == paper


def test_the_readings_can_be_switched() -> None:
    plain = network("large-parameters", convolution="plain", dense_bias=False)
    assert parameter_count(plain) == 6 * 81 + 384 + 80
    assert parameter_count(network("large-parameters")) == 6 * 36 + 392 + 90


@pytest.mark.parametrize("regime", TABLES)
def test_slices_cover_the_vector_once(regime: str) -> None:
    layers = network(regime, classes=7)
    ends = [(place.where.start, place.where.stop) for place in places(layers)]
    assert ends[0][0] == 0
    assert all(before[1] == after[0] for before, after in zip(ends, ends[1:], strict=False))
    assert ends[-1][1] == parameter_count(layers)
    assert output_shapes(layers)[-1] == (7,)
    assert output_shapes(layers)[0] == (3, *IMAGE[1:])


@pytest.mark.parametrize("regime, count", [("large-parameters", 698), ("many-layers", 1385), ("combined", 1078)])
def test_so_many_parameters_has_a_network_for_ten_classes(regime: str, count: int) -> None:
    assert parameter_count(network(regime)) == count
