"""The lane engine: an array of members trained by C kernels that keep an image in each lane of a vector register.

README.md beside this file says how it works. It is compiled when the package is installed; where there was no
compiler, `available` says None and members go to the reference engine.

    >>> from trainers.lanes import available
    >>> available()
    'avx512'
"""

from __future__ import annotations


def available() -> str | None:
    """The build that runs on this machine: avx512, avx2 or portable; None where none was compiled.

    GRADSWEEP_LANES=avx512|avx2|portable asks for one of them; ValueError where that one can't run here.
    """
    from trainers.lanes.kernels import builds, chosen

    return chosen() if builds() else None
