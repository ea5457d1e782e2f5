"""The agent's configuration: one TOML file, every key checked.

Paths in it are relative to the file's own folder.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails

from kenpin_agent.cameras.config import CameraConfig, FolderConfig, SimulatedConfig
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.thermometers import AutoConfig, ThermometerConfig
from kenpin_wire.errors import ConfigError
from kenpin_wire.faults import place, words
from kenpin_wire.messages import Roi
from kenpin_wire.topics import Address

MOVING_VIEW_WINDOW = 10
"""The published pipeline's smoothing: the mean of 10 frames of a moving view."""

_PATHS = (
    ("state_dir",),
    ("release",),
    ("camera", "path"),
    ("broker", "password_file"),
    ("broker", "tls", "ca_file"),
    ("broker", "tls", "cert_file"),
    ("broker", "tls", "key_file"),
    ("trust", "root"),
)


_WITH_KIND = ("camera", "thermometer")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InspectionConfig(_Section):
    """How frames are judged; the controller can change most of it later."""

    threads: Annotated[int, Field(ge=1, le=16)] = 2
    """Inference threads at full allowance."""
    window: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The score is the mean of this many frames. 10 for a moving view, 1 where each frame is a part."""
    heatmap_every: Annotated[int, Field(ge=0)] = 0
    """Also draw the heatmap of every Nth good part; 0 for none."""
    roi: Roi | None = None


class GovernorConfig(_Section):
    """What the operator may say about heat; the board's own limits are known."""

    limit_c: Annotated[FiniteFloat, Field(gt=0, le=120)] | None = None
    """Hold this temperature instead of the board's limit."""


class TrustConfig(_Section):
    """Whom to believe. Without a root, whoever can publish to this device can set it and install on it."""

    root: Path | None = None
    """The site's `root.json`, from which every signature is followed."""
    url: Annotated[str, Field(pattern=r"^https?://[^/]")] | None = None
    """A web server to fetch metadata from, instead of from the controller over MQTT."""

    @model_validator(mode="after")
    def _url_needs_root(self) -> Self:
        if self.url is not None and self.root is None:
            raise ValueError("url says where metadata is, and root by what to verify it: give both")
        return self


class AgentConfig(_Section):
    """All of it. `site`, `line`, `device` and `camera` have no default."""

    site: str
    line: str
    device: str
    state_dir: Path = Path("kenpin-state")
    release: Path | None = None
    """A release file to begin with, for a device without a controller."""
    broker: BrokerSettings = BrokerSettings()
    camera: CameraConfig
    inspection: InspectionConfig = InspectionConfig()
    thermometer: ThermometerConfig = AutoConfig()
    governor: GovernorConfig = GovernorConfig()
    trust: TrustConfig = TrustConfig()

    @property
    def address(self) -> Address:
        return Address(self.site, self.line, self.device)

    @property
    def window(self) -> int:
        """Over how many frames a score is averaged."""
        if self.inspection.window is not None:
            return self.inspection.window
        return 1 if isinstance(self.camera, FolderConfig | SimulatedConfig) else MOVING_VIEW_WINDOW


def load_config(path: Path) -> AgentConfig:
    """Read a configuration file.

    Raises:
        ConfigError: if it is missing, no TOML, or a key is unknown, missing or of the wrong kind: the first
            such key, by name, with what was meant where that can be guessed.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=str(path), remedy="Give the configuration with --config FILE."
        ) from None
    except OSError as error:
        raise ConfigError.from_os(error, where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        remedy = 'Mend that place: key = 3, key = "text", or [section].'
        raise ConfigError(f"it is not TOML: {error}", where=str(path), remedy=remedy) from None
    for keys in _PATHS:
        _make_absolute(table, keys, path.parent)
    try:
        config = AgentConfig.model_validate(table)
        _ = config.address  # checks the names
    except ValidationError as error:
        # An unknown key first: it is often why another seems to be missing.
        faults = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        what, remedy = _explain(faults[0])
        raise ConfigError(what, where=str(path), remedy=remedy) from None
    except ConfigError as error:
        raise ConfigError(f"{error.where}: {error.what}", where=str(path), remedy=error.remedy) from None
    return config


def _make_absolute(table: dict[str, Any], keys: tuple[str, ...], folder: Path) -> None:
    inner: Any = table
    for key in keys[:-1]:
        inner = inner.get(key)
        if not isinstance(inner, dict):
            return
    if isinstance(inner.get(keys[-1]), str):
        inner[keys[-1]] = str(folder.absolute() / inner[keys[-1]])


def _explain(error: ErrorDetails) -> tuple[str, str]:
    """One validation error as (what, remedy). The input is left out: it may be a password."""
    location = [str(part) for part in error["loc"]]
    # pydantic puts the kind into the location of what it belongs to; the file has no such level.
    kindless = location[:1] + location[2:] if location[0] in _WITH_KIND else location
    key = place({"loc": kindless})
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(location[:-1])
            near = difflib.get_close_matches(location[-1], known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(sorted(known))}."
            return f"unknown key {key!r}", remedy
        case "missing":
            return f"the key {key!r} is missing", "Add it."
        case "union_tag_not_found":
            return f"the key '{key}.kind' is missing", "Say which kind it is."
        case "union_tag_invalid":
            context = error.get("ctx", {})
            return (
                f"'{key}.kind' is {context.get('tag')!r}",
                f"Known kinds: {context.get('expected_tags')}.",
            )
    return f"key {key!r}: {words(error)}", "Correct it."


def _known_keys(location: list[str]) -> list[str]:
    """The keys that a table of the configuration may hold; `location` as pydantic names it."""
    schema = AgentConfig.model_json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in location:
        properties = node.get("properties", {})
        if part in properties:
            node = properties[part]
        else:  # a kind's tag, which pydantic puts into the location
            node = {"$ref": node.get("discriminator", {}).get("mapping", {}).get(part, "")}
        while "$ref" in node:
            node = definitions.get(node["$ref"].rpartition("/")[2], {})
    return list(node.get("properties", {}))
