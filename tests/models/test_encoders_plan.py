"""A plan says which encoder is meant, as text and as an object, and refuses what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models.encoder_file import shipped_encoder
from kenpin_models.encoders.plan import DESIGNS, EncoderPlan, parse_plan
from kenpin_models.encoders.resolve import resolve
from kenpin_wire.errors import ConfigError


@st.composite
def plans(draw: st.DrawFn) -> EncoderPlan:
    architecture = draw(st.sampled_from(sorted(DESIGNS)))
    design = DESIGNS[architecture]
    cut = draw(st.none() | st.integers(0, design.blocks - 1))
    last = design.blocks - 1 if cut is None else cut
    maps = draw(
        st.none() | st.sets(st.integers(0, last), min_size=1).map(lambda blocks: tuple(sorted(blocks)))
    )
    return EncoderPlan(
        architecture,
        alpha=draw(st.sampled_from(design.alphas)),
        cut=cut,
        maps=maps,
        pooled="maps" if cut is not None else draw(st.sampled_from(["maps", "last"])),
        weights=draw(st.sampled_from(["pip", "none", "some/file.pt", "hub:timm/some_net.in1k"])),
        seed=draw(st.integers(0, 99)),
        embedding=draw(st.sampled_from([0, 512])),
    )


@given(plans())
def test_a_plan_is_read_as_it_is_written(plan: EncoderPlan) -> None:
    assert parse_plan(str(plan)) == plan


@given(plans())
def test_its_description_in_full_is_a_plan_of_the_same_network(plan: EncoderPlan) -> None:
    again = parse_plan(plan.described)
    assert (again.last_block, again.blocks_out, again.pooled) == (
        plan.last_block,
        plan.blocks_out,
        plan.pooled,
    )
    assert (again.alpha, again.embedding) == (plan.alpha, plan.embedding)


@pytest.mark.parametrize(
    ("text", "stride_px"),
    [("efficientnet-lite0:block2", 4), ("efficientnet-lite0", 16), ("mobilenetv2-1.0:block13", 32)],
)
def test_inputs_are_multiples_of_all_strides_that_are_kept(text: str, stride_px: int) -> None:
    assert parse_plan(text).stride_px == stride_px


def test_a_cut_before_the_usual_maps_gives_out_the_last_one_left() -> None:
    assert parse_plan("mobilenetv2:block3").map_names == ("block3",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("vgg16", "no network"),
        ("mobilenetv2-0.7", "no mobilenetv2 of width 0.7"),
        ("efficientnet-lite0-0.5", "width 0.5"),
        ("mobilenetv2:block17", "no block 17"),
        ("mobilenetv2:block5@maps=3,9", "maps of blocks 3, 9"),
        ("mobilenetv2@maps=9,3", "ascending"),
        ("mobilenetv2@maps=few", "no number"),
        ("mobilenetv2@pooled=both", "pooled"),
        ("mobilenetv2:block5@pooled=last", "all of its blocks"),
        ("mobilenetv2@colour=red", "no option 'colour'"),
        ("mobilenetv2@embedding=-1", "embedding"),
        ("Mobile Net!", "names no encoder"),
        ("", "names no encoder"),
    ],
)
def test_what_cannot_be_is_named_with_what_could(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse_plan(text)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["shipped", "efficientnet-lite0", "efficientnet-lite0:block10@maps=4,7,10"])
def test_all_names_of_the_shipped_encoder_find_it_without_torch(name: str, tmp_path: Path) -> None:
    assert resolve(name, tmp_path) == shipped_encoder()


def test_a_path_finds_the_file_with_its_description(tmp_path: Path) -> None:
    shipped = shipped_encoder().file
    file = tmp_path / "mine.tflite"
    for suffix in (".tflite", ".json"):
        file.with_suffix(suffix).write_bytes(shipped.with_suffix(suffix).read_bytes())
    assert resolve(str(file), tmp_path).file == file
