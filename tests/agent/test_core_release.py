"""Releases: out of the zip with suspicion, loaded, proved by their golden pictures."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kenpin_agent.release import check_golden, load_release, read_manifest, unpack_release
from kenpin_wire.errors import ReleaseError
from support.small_release import KINDS, manifest_for, part, release_files, write_release, write_zip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release") / "discs-1.kenpin")


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def remade(tmp_path: Path, sound: Path, **changed: bytes) -> Path:
    """The sound release with members changed, its manifest left as it is."""
    renamed = {name.replace("__", "/").replace("_DOT_", "."): data for name, data in changed.items()}
    return write_zip(tmp_path / "changed.kenpin", {**members(sound), **renamed})


def with_manifest(tmp_path: Path, sound: Path, change: Any) -> Path:
    content = json.loads(members(sound)["manifest.json"])
    change(content)
    return write_zip(
        tmp_path / "changed.kenpin", {**members(sound), "manifest.json": json.dumps(content).encode()}
    )


def refused(file: Path, tmp_path: Path, what: str) -> None:
    with pytest.raises(ReleaseError, match=what):
        unpack_release(file, tmp_path / "slot")
    assert not (tmp_path / "slot").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_of_every_head_loads_and_proves_itself(kind: str, tmp_path: Path) -> None:
    manifest = unpack_release(write_release(tmp_path / "r.kenpin", kind), tmp_path / "slot")
    release = load_release(tmp_path / "slot")
    check_golden(release)
    assert release.label == "discs-1" == str(manifest.release)
    assert release.score(part(3, scratched=True)) > max(manifest.calibration.scores)


def test_the_manifest_is_read_without_unpacking(sound: Path) -> None:
    assert str(read_manifest(sound).release) == "discs-1"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"nowhere.kenpin: No such file"):
        read_manifest(tmp_path / "nowhere.kenpin")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.kenpin").write_bytes(b"no release" * 100)
    refused(tmp_path / "r.kenpin", tmp_path, "not a release")


def test_a_zip_without_a_manifest_is_refused(tmp_path: Path) -> None:
    refused(write_zip(tmp_path / "r.kenpin", {"a": b"1"}), tmp_path, "has no manifest.json")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_release_is_refused_wherever_it_ends(share: float, sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    (tmp_path / "r.kenpin").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "r.kenpin", tmp_path, "not a release, or cut short")


def test_no_flipped_byte_gets_through_as_a_different_file(sound: Path, tmp_path: Path) -> None:
    data, rng = sound.read_bytes(), np.random.default_rng(0)
    whole = members(sound)
    for position in rng.integers(0, len(data), 25):
        altered = bytearray(data)
        altered[position] ^= 0x55
        (tmp_path / "r.kenpin").write_bytes(altered)
        try:
            unpack_release(tmp_path / "r.kenpin", tmp_path / f"slot{position}")
        except ReleaseError:
            continue  # the usual end; otherwise the byte was one of the zip's own that mean nothing
        for name, content in whole.items():
            assert (tmp_path / f"slot{position}" / name).read_bytes() == content


def test_a_tampered_member_is_refused_by_name(sound: Path, tmp_path: Path) -> None:
    altered = bytearray(members(sound)["head.npz"])
    altered[len(altered) // 2] ^= 1
    refused(
        remade(tmp_path, sound, head_DOT_npz=bytes(altered)), tmp_path, "head.npz is not what its manifest"
    )


def test_a_member_longer_than_promised_is_not_read_to_its_end(sound: Path, tmp_path: Path) -> None:
    bomb = members(sound)["head.npz"] + bytes(50_000_000)
    refused(remade(tmp_path, sound, head_DOT_npz=bomb), tmp_path, "head.npz is longer than its manifest")


def test_a_missing_member_is_named(sound: Path, tmp_path: Path) -> None:
    kept = {name: data for name, data in members(sound).items() if name != "golden/1.png"}
    refused(write_zip(tmp_path / "r.kenpin", kept), tmp_path, "golden/1.png is missing")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "golden/../../evil", "a\\..\\evil"])
def test_a_member_that_would_land_elsewhere_refuses_the_whole(name: str, sound: Path, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "r.kenpin", {**members(sound), name: b"x"})
    refused(file, tmp_path, "land outside")


def test_a_member_that_is_there_twice_is_refused(sound: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.kenpin"
    file.write_bytes(sound.read_bytes())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("head.npz", b"another")
    refused(file, tmp_path, "twice")


def test_an_encrypted_member_is_refused(sound: Path, tmp_path: Path) -> None:
    data = bytearray(sound.read_bytes())
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            struct.pack_into("<H", data, at + flags_at, 1)
            at = data.find(signature, at + 4)
    (tmp_path / "r.kenpin").write_bytes(data)
    refused(tmp_path / "r.kenpin", tmp_path, "damaged|cut short")


def test_too_many_members_are_refused(sound: Path, tmp_path: Path) -> None:
    extra = {f"extra{i}": b"" for i in range(300)}
    refused(write_zip(tmp_path / "r.kenpin", {**members(sound), **extra}), tmp_path, "holds 305 files")


def test_members_that_no_manifest_names_are_left_in_the_zip(sound: Path, tmp_path: Path) -> None:
    unpack_release(write_zip(tmp_path / "r.kenpin", {**members(sound), "new.bin": b"x"}), tmp_path / "slot")
    assert not (tmp_path / "slot" / "new.bin").exists()


def test_a_newer_schema_is_refused_with_a_remedy(sound: Path, tmp_path: Path) -> None:
    file = with_manifest(tmp_path, sound, lambda m: m.update(schema_version=99, input="who knows"))
    refused(file, tmp_path, "release schema 99.*Update the program")


def test_an_absurd_promised_size_is_refused_before_unpacking(sound: Path, tmp_path: Path) -> None:
    file = with_manifest(tmp_path, sound, lambda m: m["encoder"].update(size=10**12))
    refused(file, tmp_path, "larger than")


def test_a_manifest_that_names_itself_is_refused(sound: Path, tmp_path: Path) -> None:
    file = with_manifest(tmp_path, sound, lambda m: m["head"].update(file="manifest.json"))
    refused(file, tmp_path, "names a file twice")


def test_a_disk_that_cannot_take_it_is_an_os_error_and_leaves_nothing(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        unpack_release(sound, tmp_path / "missing" / "slot")


def test_what_a_killed_unpacking_left_behind_is_no_obstacle(sound: Path, tmp_path: Path) -> None:
    (tmp_path / ".slot.new" / "golden").mkdir(parents=True)
    (tmp_path / ".slot.new" / "head.npz").write_bytes(b"half")
    unpack_release(sound, tmp_path / "slot")
    load_release(tmp_path / "slot")


def test_a_rotten_file_is_found_when_loading(sound: Path, tmp_path: Path) -> None:
    unpack_release(sound, tmp_path / "slot")
    with (tmp_path / "slot" / "encoder.tflite").open("r+b") as file:
        file.seek(1000)
        file.write(b"rot")
    with pytest.raises(ReleaseError, match=r"encoder.tflite was altered"):
        load_release(tmp_path / "slot")


def test_a_lost_file_is_found_when_loading(sound: Path, tmp_path: Path) -> None:
    unpack_release(sound, tmp_path / "slot")
    (tmp_path / "slot" / "head.npz").unlink()
    with pytest.raises(ReleaseError, match=r"head.npz cannot be read"):
        load_release(tmp_path / "slot")


def test_wrong_golden_scores_are_refused_with_both_scores(sound: Path, tmp_path: Path) -> None:
    file = with_manifest(tmp_path, sound, lambda m: m["golden"][1].update(score=0.125))
    unpack_release(file, tmp_path / "slot")
    with pytest.raises(ReleaseError, match=r"golden/1.png scores \d.* here, not 0.125"):
        check_golden(load_release(tmp_path / "slot"))


def test_a_head_for_another_encoder_is_refused(tmp_path: Path) -> None:
    files = release_files("padim")
    wide = manifest_for(files, "padim")
    wider = wide.model_copy(update={"input": wide.input.model_copy(update={"width": 128})})
    file = write_zip(tmp_path / "r.kenpin", {"manifest.json": wider.model_dump_json().encode(), **files})
    unpack_release(file, tmp_path / "slot")
    with pytest.raises(ReleaseError, match="does not fit its encoder"):
        load_release(tmp_path / "slot")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    files = release_files("padim")
    with (tmp_path / "head.npz").open("wb") as out:
        np.savez(out, patch_mean=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    files["head.npz"] = (tmp_path / "head.npz").read_bytes()
    manifest = manifest_for(files).model_dump_json().encode()
    unpack_release(write_zip(tmp_path / "r.kenpin", {"manifest.json": manifest, **files}), tmp_path / "slot")
    with pytest.raises(ReleaseError, match=r"head.npz cannot be read"):
        load_release(tmp_path / "slot")
