"""Topics, built and parsed in this one place.

`TopicTree.build` and `TopicTree.parse` are inverse to each other; no other module spells a topic.
This module only handles strings: what a channel carries is in `kenpin_wire.contract`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from kenpin_wire.errors import ConfigError, WireError

DEFAULT_PREFIX = "kenpin/v1"
MAX_SLASHES = 7  # AWS IoT Core's limit, the tightest of the brokers we know

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_ARGUMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Channel(StrEnum):
    """What is said, named as it stands in the topic behind the device."""

    SCORE = "score"
    SCORE_AGG = "score/agg"
    EVENT_ANOMALY = "event/anomaly"
    EVENT_DISAGREEMENT = "event/disagreement"
    EVENT_PICTURE = "event/picture"
    HEATMAP = "heatmap"
    PICTURE = "picture"
    TELEMETRY = "telemetry"
    STATUS = "status"
    SET_CONFIG = "set/config"
    REPORTED_CONFIG = "reported/config"
    SET_RELEASE = "set/release"
    REPORTED_RELEASE = "reported/release"
    REPORTED_SHADOW = "reported/shadow"
    BLOB_REQ = "blob/req"
    SET_BLOB = "set/blob"
    META_REQ = "meta/req"
    SET_META = "set/meta"
    SET_ACK = "set/ack"
    CMD = "cmd"
    REPLY = "reply"
    LOG = "log"


WITH_ARGUMENT = frozenset({Channel.SET_BLOB, Channel.SET_META, Channel.CMD, Channel.REPLY})
"""Channels whose topic ends with one more level: a blob's sha256, a request's id, a verb, a command's id."""

ALL_DEVICES = "_all"
"""Stands in a device's place for a whole line; no device can have this name."""


def check_name(name: str, what: str) -> str:
    """Return `name` if it can stand in a topic.

    Raises:
        ConfigError: unless it is 1 to 32 of `a-z 0-9 -`, neither starting nor ending with `-`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a {what}",
            where=what,
            remedy="Use 1 to 32 of the characters a-z, 0-9 and '-', with no '-' at either end.",
        )
    return name


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device stands: site and line (ISA-95), and its name. `device` may be `ALL_DEVICES`."""

    site: str
    line: str
    device: str

    def __post_init__(self) -> None:
        check_name(self.site, "site")
        check_name(self.line, "line")
        if self.device != ALL_DEVICES:
            check_name(self.device, "device")

    @property
    def whole_line(self) -> Address:
        """The address that every device of this line listens to."""
        return Address(self.site, self.line, ALL_DEVICES)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, taken apart. `argument` is empty but for the channels in `WITH_ARGUMENT`."""

    address: Address
    channel: Channel
    argument: str = ""

    def __post_init__(self) -> None:
        if (self.channel in WITH_ARGUMENT) != bool(self.argument):
            need = "needs an argument" if self.channel in WITH_ARGUMENT else "takes no argument"
            raise WireError(f"channel {self.channel.value} {need}", where="topic")
        if self.argument and not _ARGUMENT.fullmatch(self.argument):
            raise WireError(f"{self.argument!r} cannot stand in a topic", where=self.channel.value)


class TopicTree:
    """All topics under one prefix.

    Args:
        prefix: What stands before the site, such as `kenpin/v1`.

    Raises:
        ConfigError: if the prefix holds wildcards or empty levels, or is so deep that a topic would
            have more than seven slashes.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        levels = prefix.split("/")
        deepest = len(levels) + 3 + 3 - 1  # site, line, device, set/blob/{sha256}
        if not all(re.fullmatch(r"[A-Za-z0-9._-]+", level) for level in levels) or deepest > MAX_SLASHES:
            raise ConfigError(
                f"{prefix!r} cannot be the topic prefix",
                where="prefix",
                remedy="Use one or two levels of letters, digits, '.', '_' and '-', such as 'kenpin/v1'.",
            )
        self.prefix = prefix

    def build(self, topic: Topic) -> str:
        """The topic as MQTT spells it."""
        a = topic.address
        text = f"{self.prefix}/{a.site}/{a.line}/{a.device}/{topic.channel.value}"
        return f"{text}/{topic.argument}" if topic.argument else text

    def parse(self, text: str) -> Topic:
        """Take a spelled topic apart.

        Raises:
            WireError: if it is none of ours.
        """
        rest = text.removeprefix(self.prefix + "/")
        levels = rest.split("/")
        if rest == text or len(levels) < 4:
            raise WireError(f"not a topic under {self.prefix}", where=text)
        site, line, device, *tail = levels
        try:
            address = Address(site, line, device)
            for cut in (len(tail), len(tail) - 1):
                name, argument = "/".join(tail[:cut]), "/".join(tail[cut:])
                if name in _CHANNELS and (Channel(name) in WITH_ARGUMENT) == bool(argument):
                    return Topic(address, Channel(name), argument)
        except (ConfigError, WireError) as error:
            raise WireError(error.what, where=text) from error
        raise WireError("no channel of this name", where=text)

    def filter(self, channel: Channel, *, site: str = "+", line: str = "+", device: str = "+") -> str:
        """A subscription filter; what is not given matches anything."""
        text = f"{self.prefix}/{site}/{line}/{device}/{channel.value}"
        return f"{text}/+" if channel in WITH_ARGUMENT else text


_CHANNELS = frozenset(channel.value for channel in Channel)
