"""An encoder's file and the description beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kenpin_models.assets import ENCODER_FILE, PROVENANCE_FILE
from kenpin_models.encoder_file import read_encoder_file, shipped_encoder
from kenpin_wire.errors import ConfigError


def test_the_shipped_encoder_says_where_it_is_from() -> None:
    encoder = shipped_encoder()
    assert encoder.maps == ("block4", "block7", "block10")
    assert "Apache-2.0" in encoder.provenance


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "No such file"), ("[1]", "no JSON object"), ("{", "no JSON object"), ('{"maps": []}', "maps")],
)
def test_a_description_that_is_missing_or_lacks_something_is_named(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    file = tmp_path / "mine.tflite"
    file.write_bytes(ENCODER_FILE.read_bytes())
    if text is not None:
        if text.startswith("{") and text != "{":
            text = json.dumps(json.loads(PROVENANCE_FILE.read_text()) | json.loads(text))
        file.with_suffix(".json").write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_encoder_file(file)
    assert "mine.json" in str(caught.value)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.tflite"):
        read_encoder_file(tmp_path / "gone.tflite")
