"""What a shadowing device sends reaches the store, and no page takes its pictures for the last anomaly."""

import hashlib

from kenpin_controller.fleet import Fleet
from kenpin_controller.intake import AGENT_CHANNELS, read, to_write
from kenpin_controller.store.writes import Disagreed, Picture, Shadowed
from kenpin_wire.contract import CONTRACT, encode
from kenpin_wire.messages import ReleaseName
from kenpin_wire.shadow import Disagreement, ShadowReport
from kenpin_wire.topics import Address, Channel, Topic, TopicTree

TREE, CAM = TopicTree(), Address("tokyo", "line-a", "cam-1")


def arrives(channel, message):
    """Over the wire and back."""
    payload = message if isinstance(message, bytes) else encode(message)
    return read(TREE, TREE.build(Topic(CAM, channel)), payload)


def test_a_disagreement_and_its_pictures_are_stored_under_the_hashes_that_it_names(make):
    jpegs = [make.jpeg(number) for number in range(3)]
    picture, ours, theirs = (hashlib.sha256(jpeg).hexdigest() for jpeg in jpegs)
    event = Disagreement(
        id="d1",
        rollout="r1",
        candidate=ReleaseName(name="discs", version="2"),
        picture_sha256=picture,
        incumbent_heatmap_sha256=ours,
        candidate_heatmap_sha256=theirs,
    )
    stored = to_write(*arrives(Channel.EVENT_DISAGREEMENT, event), received_s=1.0)
    assert isinstance(stored, Disagreed)
    kept = [to_write(*arrives(Channel.EVENT_PICTURE, jpeg), received_s=1.0) for jpeg in jpegs]
    assert [write.sha256 for write in kept if isinstance(write, Picture)] == [picture, ours, theirs]
    assert Channel.EVENT_PICTURE in AGENT_CHANNELS


def test_a_shadow_report_is_stored():
    report = ShadowReport(rollout="r1", frames=30)
    assert isinstance(to_write(*arrives(Channel.REPORTED_SHADOW, report), received_s=1.0), Shadowed)


def test_a_shadows_pictures_are_neither_retained_nor_shown_as_the_last_anomaly(make):
    fleet, anomaly = Fleet(), make.jpeg(1)
    fleet.apply(*arrives(Channel.PICTURE, anomaly), 1.0)
    fleet.apply(*arrives(Channel.EVENT_PICTURE, make.jpeg(2)), 2.0)
    device = fleet.device("cam-1")
    assert device is not None
    assert device.picture_sha256 == hashlib.sha256(anomaly).hexdigest()
    assert not CONTRACT[Channel.EVENT_PICTURE].retain
