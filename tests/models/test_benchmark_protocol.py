"""The published protocol as it is read from Fashion-MNIST's files."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from kenpin_models.benchmark.protocol import (
    BOOT,
    CLASS_NAMES,
    SNEAKER,
    as_image,
    read_fashion,
    read_protocol,
    write_pictures,
    write_reference,
)
from kenpin_wire.errors import ConfigError, PictureError
from support import require


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """Twenty pictures of each class, each picture's grey level its number."""
    for part, n in (("train", 20), ("t10k", 10)):
        labels = np.tile(np.arange(10), n)
        pictures = np.broadcast_to(np.arange(10 * n)[:, None, None], (10 * n, 28, 28))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_sneakers_are_learnt_and_boots_only_judged(fashion: Path) -> None:
    protocol = read_protocol(fashion, n_reference=50)

    levels = {
        name: {int(p[0, 0]) % 10 for p in getattr(protocol, name)}
        for name in ("good", "test_good", "test_bad")
    }
    assert levels == {"good": {SNEAKER}, "test_good": {SNEAKER}, "test_bad": {BOOT}}
    assert not {SNEAKER, BOOT} & set(protocol.reference.labels.tolist())


def test_a_seed_draws_the_same_references_and_another_others(fashion: Path) -> None:
    first, again, other = (read_protocol(fashion, seed, n_reference=50) for seed in (0, 0, 1))

    assert np.array_equal(first.reference.pictures, again.reference.pictures)
    assert not np.array_equal(first.reference.pictures, other.reference.pictures)


def test_labels_stay_with_their_pictures(fashion: Path) -> None:
    protocol = read_protocol(fashion, 3, n_reference=50)

    assert (protocol.reference.pictures[:, 0, 0] % 10 == protocol.reference.labels).all()


def test_a_reduced_run_has_as_many_pictures_as_it_asks_for(fashion: Path) -> None:
    protocol = read_protocol(fashion, n_reference=30, n_good=7, n_test=4)

    sizes = [
        len(protocol.reference.labels),
        len(protocol.good),
        len(protocol.test_good),
        len(protocol.test_bad),
    ]
    assert sizes == [30, 7, 4, 4]


def test_files_that_are_not_packed_are_read_too(fashion: Path) -> None:
    packed = fashion / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()

    assert len(read_fashion(fashion, "train").pictures) == 200


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte\.gz"):
        read_protocol(tmp_path)


@pytest.mark.parametrize(
    "damage", [b"", b"no gzip at all", gzip.compress(b"\0\0\x0d\x03"), gzip.compress(b"\0\0\x08\x03\0")]
)
def test_a_damaged_file_is_told_in_a_line(fashion: Path, damage: bytes) -> None:
    (fashion / "t10k-images-idx3-ubyte.gz").write_bytes(damage)

    with pytest.raises(PictureError, match="t10k-images"):
        read_protocol(fashion)


def test_a_folder_of_pictures_holds_them_as_they_were(fashion: Path, tmp_path: Path) -> None:
    protocol = read_protocol(fashion, n_reference=16)

    folder = write_pictures(protocol.good, tmp_path / "good", [3, 1])
    tree = write_reference(protocol.reference, tmp_path / "reference")

    assert sorted(file.name for file in folder.iterdir()) == ["00001.png", "00003.png"]
    assert np.array_equal(cv2.imread(str(folder / "00003.png")), as_image(protocol.good[3]))
    assert sum(1 for _ in tree.rglob("*.png")) == 16
    assert {path.name for path in tree.iterdir()} <= set(CLASS_NAMES)


def test_the_real_files_give_the_published_numbers() -> None:
    protocol = read_protocol(Path(require("data")) / "fashion-mnist")

    assert protocol.good.shape == (6000, 28, 28)
    assert protocol.test_good.shape == protocol.test_bad.shape == (1000, 28, 28)
    assert len(protocol.reference.labels) == 6000
    assert len(set(protocol.reference.labels.tolist())) == 8
