import pytest

from trainers.lanes.kernels import builds


@pytest.fixture(params=["avx512", "avx2", "portable"])
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each instruction set that was compiled and that this processor has, one after the other."""
    if request.param not in builds():
        pytest.skip(f"no {request.param} build of the lane kernels here")
    monkeypatch.setenv("GRADSWEEP_LANES", request.param)
    return request.param
