"""How many threads the libraries start. Imports none of them."""

from __future__ import annotations

import os

_ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}


def one_thread_a_library() -> None:
    """Keep numpy and OpenCV to one thread each. Call it before either is imported; they read it once.

    A head's products take a tenth of a millisecond: waking threads for them costs more than it saves, spinning
    ones take the cores that the encoder and the camera need, and heat the board. The encoder's own threads are
    set with the release. What the environment already says stays.
    """
    for name, value in _ONE_THREAD.items():
        os.environ.setdefault(name, value)


def one_thread_environment() -> dict[str, str]:
    """This process's environment, with one thread a library: for a process that is to be measured."""
    return {**os.environ, **_ONE_THREAD}
