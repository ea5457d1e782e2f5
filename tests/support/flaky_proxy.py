"""A bad network between agents and their broker: a TCP proxy that knows enough of MQTT to lose single messages, or to
change them.

TCP loses no packet of a connection that stands, but brokers with full queues and clients on the edge of a wireless
network lose messages; so a block that is lost here is acknowledged to the broker in the agent's stead. Whole
connections can be left half-open: both ends believe in them, and nothing passes any more.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from kenpin_wire.contract import decode
from kenpin_wire.messages import BlockRequest
from kenpin_wire.topics import Channel, Topic, TopicTree
from support import free_port

_CONNECT, _PUBLISH = 1, 3
_TREE = TopicTree()


@dataclass(slots=True)
class Traffic:
    """What passed of one file.

    Attributes:
        asked: How many bytes each device asked for, again and again included.
        came: How many bytes the broker had for each device.
        blocks, lost, repeated: How many block messages the broker had, and what was done to them.
    """

    asked: Counter[str] = field(default_factory=Counter)
    came: Counter[str] = field(default_factory=Counter)
    blocks: int = 0
    lost: int = 0
    repeated: int = 0


class FlakyProxy:
    """Listens on `port` and passes on to the broker, in MQTT 5.

    Attributes:
        lose, repeat: Shares of block messages that are lost, or come twice. May be changed at any time.
        forge: Gives what is put in the place of a message's payload, on its way to an agent or from it, as a broker
            that lies would. May be changed at any time.
        files: What passed, by sha256.
    """

    def __init__(self, broker_port: int, *, seed: int = 0) -> None:
        self.port = free_port()
        self.lose = self.repeat = 0.0
        self.forge: Callable[[Topic, bytes], bytes] = lambda _topic, payload: payload
        self.files: dict[str, Traffic] = {}
        self._broker_port = broker_port
        self._chance = random.Random(seed)
        self._connections: dict[str, _Connection] = {}
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        assert self._listens.wait(5)

    def half_open(self, *client_ids: str) -> None:
        """From now on nothing passes through the connections of these clients, and neither end is told."""
        for client_id in client_ids:
            self._connections[client_id].passing = False

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    # The loop's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._listens.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _serve(self, agent: asyncio.StreamReader, to_agent: asyncio.StreamWriter) -> None:
        try:
            broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            to_agent.transport.abort()
            return
        connection = _Connection(self, to_agent, to_broker)
        pumps = [
            asyncio.ensure_future(connection.pump(agent, up=True)),
            asyncio.ensure_future(connection.pump(broker, up=False)),
        ]
        with suppress(asyncio.CancelledError):  # at the end of all
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for writer in (to_agent, to_broker):
            writer.transport.abort()

    def named(self, client_id: str, connection: _Connection) -> None:
        self._connections[client_id] = connection

    def fate(self) -> str:
        """What becomes of a block's message."""
        drawn = self._chance.random()
        return "lose" if drawn < self.lose else "repeat" if drawn < self.lose + self.repeat else "pass"

    def traffic(self, sha256: str) -> Traffic:
        return self.files.setdefault(sha256, Traffic())


class _Connection:
    def __init__(
        self, proxy: FlakyProxy, to_agent: asyncio.StreamWriter, to_broker: asyncio.StreamWriter
    ) -> None:
        self.passing = True
        self._proxy = proxy
        self._to_agent = to_agent
        self._to_broker = to_broker

    async def pump(self, reader: asyncio.StreamReader, *, up: bool) -> None:
        """Pass packets on until the connection ends; hold them for ever once nothing shall pass."""
        writer = self._to_broker if up else self._to_agent
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, body = await _packet(reader)
                while not self.passing:
                    await asyncio.sleep(0.5)
                for packet in self._seen(head, body, up=up):
                    writer.write(packet)
                await writer.drain()

    def _seen(self, head: bytes, body: bytes, *, up: bool) -> list[bytes]:
        """What is to be passed on in place of this packet."""
        kind, as_it_is = head[0] >> 4, [head + body]
        if up and kind == _CONNECT:
            self._proxy.named(_client_id(body), self)
        if kind != _PUBLISH:
            return as_it_is
        name, packet_id, rest, payload = _publish(head, body)
        topic = _TREE.parse(name[2:].decode())
        device = topic.address.device
        if topic.channel is Channel.BLOB_REQ:
            ask = decode(Channel.BLOB_REQ, payload)
            assert isinstance(ask, BlockRequest)
            self._proxy.traffic(ask.sha256).asked[device] += ask.count * ask.block_size
        if (forged := self._proxy.forge(topic, payload)) != payload:
            changed = name + packet_id + rest.removesuffix(payload) + forged
            as_it_is = [head[:1] + _length(len(changed)) + changed]
        if topic.channel is not Channel.SET_BLOB:
            return as_it_is
        traffic = self._proxy.traffic(topic.argument)
        traffic.blocks += 1
        traffic.came[device] += len(payload)
        match self._proxy.fate():
            case "lose":
                traffic.lost += 1
                self._to_broker.write(b"\x40\x02" + packet_id)  # PUBACK
                return []
            case "repeat":
                traffic.repeated += 1
                at_qos_0 = b"\x30" + _length(len(name) + len(rest)) + name + rest
                return [*as_it_is, at_qos_0]
        return as_it_is


async def _packet(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A control packet: its fixed header and the rest (MQTT 5.0, 2.1)."""
    head = await reader.readexactly(2)
    while head[-1] & 0x80:
        head += await reader.readexactly(1)
    size = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(head[1:]))
    return head, await reader.readexactly(size)


def _publish(head: bytes, body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Of a PUBLISH: the topic with its length, the packet id (empty at QoS 0), properties with payload, and the
    payload alone."""
    at = 2 + int.from_bytes(body[:2], "big")
    end = at + (2 if head[0] & 0b110 else 0)
    size, place = 0, end
    while True:
        size |= (body[place] & 0x7F) << (7 * (place - end))
        place += 1
        if not body[place - 1] & 0x80:
            return body[:at], body[at:end], body[end:], body[place + size :]


def _client_id(body: bytes) -> str:
    """Of a CONNECT: it follows protocol name, version, flags, keep-alive and properties."""
    at = 2 + int.from_bytes(body[:2], "big") + 4
    at += 1 + body[at]  # properties, fewer than 128 bytes of them
    return body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")].decode()


def _length(size: int) -> bytes:
    coded = bytearray()
    while True:
        size, byte = size >> 7, size & 0x7F
        coded.append(byte | (0x80 if size else 0))
        if not size:
            return bytes(coded)
