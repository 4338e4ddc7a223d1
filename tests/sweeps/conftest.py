"""A data set so small that an epoch takes milliseconds: what is tested here is the sweep, not the training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.load.sweep import write_images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the data, as in `MemberConfig.data`; kept in a cache of its own."""
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADSWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield f"folder:{root}"
