"""A release's blocks go to whom asked for them, whole and fast."""

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_controller.blobs import read_blocks
from kenpin_controller.operations import ReleaseRecord
from kenpin_wire.blocks import unpack_block
from kenpin_wire.messages import BlockRequest, ReleaseName
from kenpin_wire.topics import Channel
from support import wait_until

SIZE = 5_000_000


@pytest.fixture
def release(controller):
    data = bytes(range(256)) * (SIZE // 256) + b"the end"
    digest = hashlib.sha256(data).hexdigest()
    record = ReleaseRecord(ReleaseName(name="big", version="1"), digest, len(data), 1.0)
    controller.store.releases.add(record, data, who="tester")
    return digest, data


@given(
    size=st.integers(1, 1000),
    block_size=st.integers(1, 64),
    start=st.integers(0, 40),
    count=st.integers(1, 8),
)
def test_blocks_are_the_file_s_own_bytes(tmp_path_factory, size, block_size, start, count):
    file = tmp_path_factory.getbasetemp() / "blob"
    data = bytes(i % 251 for i in range(size))
    file.write_bytes(data)
    wanted = BlockRequest(sha256="0" * 64, start=start, count=count, block_size=block_size)
    blocks = read_blocks(file, wanted)
    assert b"".join(b.data for b in blocks) == data[start * block_size : (start + count) * block_size]
    assert [b.index for b in blocks] == list(range(start, start + len(blocks)))


def test_five_megabytes_reach_an_agent_in_well_under_a_second(controller, new_agent, release):
    digest, data = release
    agent = new_agent()
    got, blocks = {}, -(-len(data) // 65536)
    began_s = time.monotonic()
    for start in range(0, blocks, 8):
        count = min(8, blocks - start)
        agent.say(Channel.BLOB_REQ, BlockRequest(sha256=digest, start=start, count=count))
        wait_until(lambda: len(agent.heard) >= start + count, what="a window")  # noqa: B023  used at once
    took_s = time.monotonic() - began_s
    for payload in agent.of(Channel.SET_BLOB):
        block = unpack_block(payload)
        got[block.index] = block.data
    assert b"".join(got[i] for i in range(blocks)) == data
    print(f"{len(data)} bytes in {took_s:.2f} s")
    assert took_s < 3.0  # 0.4 s where nothing else runs; a shared machine has its moments


def test_only_the_device_that_asked_is_answered(controller, new_agent, release):
    asking, other = new_agent("cam-1"), new_agent("cam-2")
    asking.say(Channel.BLOB_REQ, BlockRequest(sha256=release[0]))
    wait_until(lambda: asking.of(Channel.SET_BLOB), what="the block")
    assert asking.heard[-1][0].argument == release[0]
    assert other.of(Channel.SET_BLOB) == []


def test_what_is_unknown_or_beyond_the_end_is_named_in_the_log_and_harms_nobody(
    controller, new_agent, release, caplog
):
    agent = new_agent()
    agent.say(Channel.BLOB_REQ, BlockRequest(sha256="0" * 64))
    agent.say(Channel.BLOB_REQ, BlockRequest(sha256=release[0], start=10**6))
    agent.say(Channel.BLOB_REQ, BlockRequest(sha256=release[0], start=2**53 - 1))
    agent.say(Channel.BLOB_REQ, BlockRequest(sha256=release[0], start=1))
    wait_until(lambda: agent.of(Channel.SET_BLOB), what="the block")
    (payload,) = agent.of(Channel.SET_BLOB)
    assert unpack_block(payload).index == 1
    assert "unknown release" in caplog.text
    assert "beyond the end" in caplog.text
