"""Pictures of every mode become uint8 blue-green-red, and what is no picture gets one clear line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from kenpin_agent import containers
from kenpin_agent.pictures import (
    MAX_PIXELS,
    decode_picture,
    encode_jpeg,
    list_pictures,
    picture_id,
    read_picture,
    shrink,
)
from kenpin_wire.errors import ConfigError, PictureError
from support.small_release import part


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def palette_png(colours: list[tuple[int, int, int]], indices: np.ndarray) -> bytes:
    """A PNG with a palette, which OpenCV cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = indices.shape
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in indices)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", b"".join(bytes(colour) for colour in colours))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that says how the camera was held."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_a_grey_picture_becomes_three_equal_channels() -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    image = decode_picture(png(grey), "x")
    assert image.shape == (6, 8, 3)
    np.testing.assert_array_equal(image, np.repeat(grey[..., np.newaxis], 3, axis=2))


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :2] = (10, 20, 30, 255)
    pixels[:, 2] = (0, 0, 0, 128)
    image = decode_picture(png(pixels), "x")
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[0, 2].tolist() == [127, 127, 127]
    assert image[0, 3].tolist() == [255, 255, 255]


def test_a_palette_becomes_its_colours() -> None:
    image = decode_picture(palette_png([(255, 0, 0), (0, 0, 255)], np.array([[0, 1, 0]])), "x")
    assert image[0].tolist() == [[0, 0, 255], [255, 0, 0], [0, 0, 255]]


def test_sixteen_bits_are_scaled_by_depth_and_not_by_the_brightest_pixel() -> None:
    dark = np.full((4, 4, 3), 257 * 9, np.uint16)
    assert (decode_picture(png(dark), "x") == 9).all()
    assert (decode_picture(png(np.full((4, 4), 65535, np.uint16)), "x") == 255).all()


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_a_jpeg_is_turned_upright(orientation: int, corner: tuple[int, int]) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:12, :12] = 255
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    image = decode_picture(with_orientation(jpeg, orientation), "x")
    assert image.shape[:2] == ((64, 32) if orientation in (6, 8) else (32, 64))
    assert image[corner].min() > 200


def test_floats_are_refused() -> None:
    tiff = cv2.imencode(".tiff", np.zeros((4, 4), np.float32))[1].tobytes()
    with pytest.raises(PictureError, match="a picture of float32 values"):
        decode_picture(tiff, "x")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_cut_picture_is_refused_and_never_half_grey(suffix: str, share: float) -> None:
    data = cv2.imencode(suffix, part(0))[1].tobytes()
    with pytest.raises(PictureError, match=r"part-7.*(cut short|damaged)"):
        decode_picture(data[: int(len(data) * share)], "part-7")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"hello" * 50, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused_with_a_remedy(data: bytes) -> None:
    with pytest.raises(PictureError, match=r"x: .*take it out"):
        decode_picture(data, "x")


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(png(part(0)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(PictureError):
        decode_picture(bytes(data), "x")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_small_file_that_claims_gigabytes_is_refused_before_decoding(kind: str) -> None:
    side = int(MAX_PIXELS**0.5) + 1000
    if kind == "png":
        data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", side, side) + bytes(30) + b"IEND"
    else:
        jpeg = cv2.imencode(".jpg", part(0))[1].tobytes()
        frame = jpeg.index(b"\xff\xc0")
        data = jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :]
    with pytest.raises(PictureError, match="million"):
        decode_picture(data, "x")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png: No such file"):
        read_picture(tmp_path / "gone.png")


def test_a_renamed_or_losslessly_saved_copy_has_the_same_id(tmp_path: Path) -> None:
    image = part(0)
    for name in ("a.png", "b.bmp", "c.tiff"):
        cv2.imwrite(str(tmp_path / name), image)
        assert picture_id(read_picture(tmp_path / name)) == picture_id(image)


def test_another_shape_of_the_same_bytes_has_another_id() -> None:
    image = part(0)
    height, width = image.shape[:2]
    assert picture_id(image) != picture_id(image.reshape(width, height, 3))
    assert picture_id(image[::2]) == picture_id(image[::2].copy())


def test_pictures_are_listed_in_the_order_a_person_expects(tmp_path: Path) -> None:
    for name in ("part-10.PNG", "part-9.jpg", "Part-1.JPEG", ".hidden.png", "notes.txt", "7.bmp"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.png").touch()
    names = [path.name for path in list_pictures(tmp_path)]
    assert names == ["7.bmp", "Part-1.JPEG", "part-9.jpg", "part-10.PNG"]
    assert [path.name for path in list_pictures(tmp_path, recursive=True)][1] == "x.png"


def test_a_missing_and_an_empty_folder_are_the_operators_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        list_pictures(tmp_path / "missing")
    with pytest.raises(ConfigError, match="holds no picture"):
        list_pictures(tmp_path)


def test_a_jpeg_fits_its_limit_even_of_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    for limit in (100_000, 20_000, 3_000):
        data = encode_jpeg(noise, max_bytes=limit)
        assert len(data) <= limit
        height, width = decode_picture(data, "x").shape[:2]
        assert max(height, width) <= 640
        assert width / height == pytest.approx(16 / 9, rel=0.05)


def test_a_small_picture_is_not_enlarged() -> None:
    assert decode_picture(encode_jpeg(part(0)), "x").shape == part(0).shape


def test_an_impossible_limit_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(PictureError, match="does not fit"):
        encode_jpeg(part(0), max_bytes=10)


def test_a_jpeg_with_a_sector_of_another_file_in_it_is_refused_nearly_always() -> None:
    data = cv2.imencode(".jpg", cv2.resize(part(0), (640, 480)))[1].tobytes()
    rng, refused = np.random.default_rng(0), 0
    for at in rng.integers(700, len(data) - 4200, 100):
        found = containers.fault(data[:at] + rng.bytes(4096) + data[at + 4096 :])
        refused += found == containers.DAMAGED
    assert refused >= 85  # of 100; the rest hold, by chance, what an end looks like


@pytest.mark.parametrize("flags", [[cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4], []])
def test_a_sound_jpeg_of_any_kind_is_read_with_what_follows_it(flags: list[int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", image, flags)[1].tobytes()
    assert decode_picture(data + b"a maker's own data", "x").shape == image.shape


def test_a_picture_of_a_pixel_is_no_picture_of_a_part(tmp_path: Path) -> None:
    (tmp_path / "dot.png").write_bytes(png(np.zeros((1, 1, 3), np.uint8)))
    with pytest.raises(PictureError, match=r"dot\.png: a picture of 1 × 1 pixels.*16"):
        read_picture(tmp_path / "dot.png")


def test_a_file_in_a_folder_s_place_is_told_from_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    with pytest.raises(ConfigError, match="a file, not a folder"):
        list_pictures(tmp_path / "good")


def test_a_name_that_breaks_lines_or_is_no_text_stays_on_one_line(tmp_path: Path) -> None:
    for name in ("a\nb.png", "\x1b[31m.png", "\udcff.png"):
        (tmp_path / name).touch()
        with pytest.raises(PictureError) as refused:
            read_picture(tmp_path / name)
        assert str(refused.value).isprintable()


def test_folders_linked_in_a_circle_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    assert list_pictures(tmp_path, recursive=True) == [tmp_path / "a.png"]


@pytest.mark.parametrize("size", [(480, 640), (700, 1000), (1080, 1920), (3000, 4000), (2, 5000)])
def test_a_shrunk_picture_keeps_its_proportions_and_its_grey(size: tuple[int, int]) -> None:
    stripes = np.zeros((*size, 3), np.uint8)
    stripes[:, ::2] = 200
    small = shrink(stripes, 320)
    assert max(small.shape[:2]) == 320
    assert small.shape[0] == max(1, round(size[0] * 320 / size[1]))
    assert abs(small.mean() - 100) < 6


def test_shrinking_leaves_a_small_picture_as_it_is() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    assert shrink(image, 320) is image
