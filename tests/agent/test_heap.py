"""Freed memory goes back to the system: seen from outside, in a fresh process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

LEAVE_HOLES = """
import json, threading
import numpy as np, psutil
from kenpin_agent.heap import give_back, one_heap

one_heap()
told = []

def resident():
    told.append(psutil.Process().memory_info().rss / 1e6)

def work():
    np.ones(2**24, np.uint8)  # once freed, blocks of this size come from the heap
    blocks = [np.ones(2**20, np.uint8) for _ in range(60)]
    resident()
    del blocks[:-1]
    resident()
    give_back()
    resident()
    del blocks

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(json.dumps(told))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_a_thread_freed_goes_back_when_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE_HOLES], capture_output=True, text=True, check=True)
    full, freed, given_back = json.loads(done.stdout)
    assert freed > full - 10  # without it: kept
    assert given_back < full - 50
