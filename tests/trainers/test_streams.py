"""The random streams: fixed numbers, and independence of purpose, seed and epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainers.streams import order_of_images, stream


def test_the_numbers_are_these_on_every_machine() -> None:
    assert order_of_images(0, 1, 8).tolist() == [7, 3, 2, 1, 4, 0, 6, 5]
    assert stream(3, "initial values").integers(0, 1000, 4).tolist() == [239, 857, 811, 901]


@given(st.integers(0, 2**63 - 1), st.integers(1, 1000), st.integers(1, 300))
def test_an_order_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    assert sorted(order_of_images(seed, epoch, count)) == list(range(count))


def test_seeds_and_epochs_have_their_own_order() -> None:
    orders = {tuple(order_of_images(s, e, 50)) for s in range(5) for e in range(1, 6)}
    assert len(orders) == 25
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    stream(0, "initial values").random()
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]
