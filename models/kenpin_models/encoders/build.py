"""Build an encoder in torch from its plan, and keep one that was taught."""

# ruff: noqa: PLC0415 (torch is only where encoders are made; asking for it comes first)

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kenpin_agent.files import write_atomically
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.extras import need
from kenpin_wire.errors import ConfigError

if TYPE_CHECKING:
    from kenpin_models.encoders.networks import EncoderModule


def build(plan: EncoderPlan) -> EncoderModule:
    """The encoder that a plan describes, ready to be used as it is (`eval`).

    Raises:
        ConfigError: if torch or the weights are not there, or the weights are another network's.
    """
    need("torch", for_what=str(plan))
    from kenpin_models.encoders.networks import EncoderModule, randomize
    from kenpin_models.encoders.weights import find_weights

    design = plan.design
    if plan.weights == "none":
        module = EncoderModule(plan, same_padding=design.same_padding, epsilon=design.epsilon)
        randomize(module, plan.seed)
        module.provenance = f"random weights, seed {plan.seed}"
        module.eval()
        return module
    weights = find_weights(plan)
    as_tensorflow = design.same_padding if weights.tensorflow is None else weights.tensorflow
    module = EncoderModule(plan, same_padding=as_tensorflow, epsilon=1e-3 if as_tensorflow else 1e-5)
    randomize(module, plan.seed)  # for the embedding, which no published weights have
    _fill(module, weights.state, plan)
    module.mean.copy_(module.mean.new_tensor(weights.mean) * 255)
    module.scale.copy_(1 / (module.scale.new_tensor(weights.std) * 255))
    module.provenance = weights.provenance
    module.eval()
    return module


def save_encoder(module: EncoderModule, file: Path) -> None:
    """Write a built encoder with its weights as they are now, so that `load_encoder` makes it again.

    Raises:
        ConfigError: if the file cannot be written.
    """
    import torch

    packed = io.BytesIO()
    torch.save(
        {
            "plan": asdict(module.plan),
            "same_padding": module.same_padding,
            "epsilon": module.epsilon,
            "provenance": module.provenance,
            "state": module.state_dict(),
        },
        packed,
    )
    try:
        write_atomically(file, packed.getvalue())
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None


def load_encoder(file: Path) -> EncoderModule:
    """The encoder that `save_encoder` wrote.

    Raises:
        ConfigError: if torch is missing, or the file cannot be read or is none of these.
    """
    need("torch", for_what=str(file))
    import torch

    from kenpin_models.encoders.networks import EncoderModule

    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        plan = EncoderPlan(**saved["plan"])
        module = EncoderModule(plan, same_padding=saved["same_padding"], epsilon=saved["epsilon"])
        module.load_state_dict(saved["state"])
        module.provenance = saved["provenance"]
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged file ends in any of torch's and pickle's errors
        raise ConfigError(
            f"no encoder can be read from it ({type(error).__name__})",
            where=str(file),
            remedy="Give a file that was saved when an encoder was taught.",
        ) from None
    module.eval()
    return module


def _fill(module: EncoderModule, state: Any, plan: EncoderPlan) -> None:
    """Published weights into the module; a cut one takes what it needs."""
    wanted = {
        name: value
        for name, value in module.state_dict().items()
        if name.startswith(("stem.", "blocks.", "last.")) and not name.endswith("num_batches_tracked")
    }
    for name, value in wanted.items():
        if name not in state or state[name].shape != value.shape:
            found = f"of shape {tuple(state[name].shape)}" if name in state else "missing"
            raise ConfigError(
                f"its layer {name} is {found}, not {tuple(value.shape)}",
                where=plan.weights,
                remedy=f"Give weights of {plan.architecture} of width {plan.alpha:g}.",
            )
    module.load_state_dict({name: state[name] for name in wanted}, strict=False)
