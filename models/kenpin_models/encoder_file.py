"""An encoder as a file, with what a release must say of it: the shipped one, a fine-tuned one, one in int8.

A file `NAME.tflite` has its description beside it, `NAME.json`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kenpin_agent.files import write_atomically
from kenpin_models.assets import ENCODER_FILE
from kenpin_wire.errors import ConfigError
from kenpin_wire.faults import first_fault
from kenpin_wire.manifest import Precision


class EncoderFile(BaseModel):
    """What must be known of a `.tflite` to use it as an encoder. Further fields of the JSON are for people.

    Attributes:
        file: The model: float32 (1, height, width, 3), RGB, 0 to 255, in; a pooled vector and maps, float32, out.
        pooled, maps: The outputs' names; the finest map first.
        stride_px: Heights and widths of inputs are multiples of this.
        provenance: Where it is from, in a line: package or run, licence, hash.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: Path
    architecture: str
    pooled: str
    maps: Annotated[tuple[str, ...], Field(min_length=1)]
    stride_px: Annotated[int, Field(ge=1)]
    precision: Precision = "float32"
    provenance: str


def read_encoder_file(file: Path) -> EncoderFile:
    """The model `file` and the description beside it.

    Raises:
        ConfigError: if either cannot be read, or the description lacks something.
    """
    beside = file.with_suffix(".json")
    try:
        file.stat()
        described = json.loads(beside.read_bytes())
        return EncoderFile.model_validate({**described, "file": file})
    except OSError as error:
        raise ConfigError.from_os(error, where=str(error.filename or file)) from None
    except (TypeError, ValueError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else ("", "it is no JSON object")
        raise ConfigError(
            " ".join(fault).strip(),
            where=str(beside),
            remedy="Export the encoder again; it writes both files.",
        ) from None


def write_description(encoder: EncoderFile, **more: Any) -> None:
    """Write the description beside the model, with whatever else is worth saying.

    Raises:
        ConfigError: if it cannot be written.
    """
    beside = encoder.file.with_suffix(".json")
    text = json.dumps(encoder.model_dump(mode="json", exclude={"file"}) | more, indent=2) + "\n"
    try:
        write_atomically(beside, text.encode())
    except OSError as error:
        raise ConfigError.from_os(error, where=str(beside)) from None


@cache
def shipped_encoder() -> EncoderFile:
    """The frozen encoder that comes with the package."""
    return read_encoder_file(ENCODER_FILE)
