"""A release that cannot do what it promises meets a line that is inspecting."""

from __future__ import annotations

import json
import time

import pytest

from kenpin_wire.messages import Phase
from support.fleet import Fleet, station
from support.small_release import members_of, write_zip


@pytest.mark.slow
def test_wrong_golden_scores_are_rejected_with_a_reason_while_inspection_goes_on(fleet: Fleet) -> None:
    story = fleet.story
    story.start_agents([station(1, rate_hz=10)])
    story.send(fleet.release("1"))
    members = members_of(fleet.release("2").file)
    manifest = json.loads(members["manifest.json"])
    manifest["golden"][0]["score"] += 1.0
    liar = write_zip(
        fleet.folder / "liar.kenpin", {**members, "manifest.json": json.dumps(manifest).encode()}
    )
    heard = story.observer.devices["cam-1"]
    heard.longest_gap_s, judged = 0.0, heard.judged
    story.upload(liar)
    story.roll_out("discs", "2", ["cam-1"])
    ended = story.observer.wait(
        "cam-1", lambda h: h.release is not None and h.release.phase == Phase.REJECTED, 20
    )
    assert ended is not None
    time.sleep(1)
    assert heard.release is not None
    assert "golden/0.png" in heard.release.reason
    assert str(heard.release.installed) == "discs-1"
    assert heard.judged > judged + 5
    assert heard.longest_gap_s < 1.0  # on a busy machine; the figure itself is measured in bench/fleet.py
