"""What a release says of its threshold."""

from __future__ import annotations

from kenpin_models.calibrate import honest_note


def test_the_note_says_what_cannot_be_promised_and_what_it_takes() -> None:
    assert honest_note(99, 0.01) == ""
    note = honest_note(24, 0.01)
    assert "24 good pictures" in note
    assert "99" in note
