"""Topics: one spelling for each, and nothing else is one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_wire.errors import ConfigError, WireError
from kenpin_wire.topics import (
    ALL_DEVICES,
    MAX_SLASHES,
    WITH_ARGUMENT,
    Address,
    Channel,
    Topic,
    TopicTree,
    check_name,
)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
arguments = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
prefixes = st.lists(
    st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12), min_size=1, max_size=2
).map("/".join)


@st.composite
def topics(draw):
    address = Address(draw(names), draw(names), draw(names | st.just(ALL_DEVICES)))
    channel = draw(st.sampled_from(Channel))
    return Topic(address, channel, draw(arguments) if channel in WITH_ARGUMENT else "")


@given(topics(), prefixes)
def test_parse_is_the_inverse_of_build(topic, prefix):
    tree = TopicTree(prefix)
    assert tree.parse(tree.build(topic)) == topic


@given(topics(), topics())
def test_no_two_topics_are_spelled_alike(one, other):
    tree = TopicTree()
    assert (tree.build(one) == tree.build(other)) == (one == other)


@given(topics(), prefixes)
def test_no_topic_is_too_deep_for_any_broker_or_holds_a_wildcard(topic, prefix):
    text = TopicTree(prefix).build(topic)
    assert text.count("/") <= MAX_SLASHES
    assert not set("+#") & set(text)


@given(st.text() | st.lists(names | st.sampled_from([*Channel, "", "set"])).map("/".join))
def test_whatever_is_parsed_is_a_topic_that_is_spelled_so_or_a_wire_error(text):
    tree = TopicTree()
    for candidate in (text, f"{tree.prefix}/{text}"):
        found = _read(tree, candidate)
        if isinstance(found, WireError):
            assert found.where == candidate
        else:
            assert tree.build(found) == candidate


@given(topics())
def test_a_filter_matches_its_channel(topic):
    tree = TopicTree()
    assert _matches(tree.filter(topic.channel), tree.build(topic))
    mine = tree.filter(topic.channel, site=topic.address.site, device=topic.address.device)
    assert _matches(mine, tree.build(topic))


@given(topics(), st.sampled_from(Channel))
def test_a_filter_matches_no_other_channel(topic, channel):
    tree = TopicTree()
    if channel is not topic.channel:
        assert not _matches(tree.filter(channel), tree.build(topic))


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a-", "a" * 33, "a/b", "+", "#", "ä", "a b", ALL_DEVICES, "a\n"]
)
def test_a_bad_name_is_refused_with_a_remedy(name):
    with pytest.raises(ConfigError) as refusal:
        check_name(name, "device")
    assert refusal.value.remedy


@pytest.mark.parametrize("prefix", ["", "/", "a/", "/a", "a//b", "a/b/c", "a+", "#", "a b", "kenpin/v1/"])
def test_a_bad_prefix_is_refused_with_a_remedy(prefix):
    with pytest.raises(ConfigError) as refusal:
        TopicTree(prefix)
    assert refusal.value.remedy


def test_an_argument_stands_only_where_one_belongs():
    here = Address("plant", "line-1", "cam-1")
    for channel in Channel:
        with pytest.raises(WireError):
            Topic(here, channel, "" if channel in WITH_ARGUMENT else "x")
    with pytest.raises(WireError):
        Topic(here, Channel.CMD, "a/b")


def _read(tree, text):
    try:
        return tree.parse(text)
    except WireError as refusal:
        return refusal


def _matches(topic_filter, text):
    levels, wanted = text.split("/"), topic_filter.split("/")
    return len(levels) == len(wanted) and all(
        w in ("+", level) for w, level in zip(wanted, levels, strict=True)
    )
