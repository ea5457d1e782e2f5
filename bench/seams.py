"""What a seam between tiles does to the encoder's maps: `python bench/seams.py DIR WIDTH HEIGHT COLUMNS ROWS`.

The pictures of a folder, scaled to WIDTH × HEIGHT, are encoded in one piece and in tiles, at overlaps from 0 to
128 px (the size then differs a little, so that tiles suit the encoder's stride). Each row says how far the
stitched map is off along the seams (the cells on either side), in standard deviations of its channel over the
pictures, and what the tiles cost: pixels against the picture's, and milliseconds against those of one piece.

    OMP_NUM_THREADS=1 python bench/seams.py $KENPIN_DATA/cookie/good 576 768 2 3
    OMP_NUM_THREADS=1 python bench/seams.py $KENPIN_DATA/aliens/good 544 384 2 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Encoder, Features
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_agent.tiles import tiles_of
from kenpin_models.encoder_file import shipped_encoder
from kenpin_wire.manifest import Input, Tiles

OVERLAPS_PX = (0, 32, 64, 96, 128)
PICTURES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, metavar="DIR")
    for name in ("width", "height", "columns", "rows"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    images = [read_picture(path) for path in list_pictures(options.pictures)[:PICTURES]]
    print("overlap  tile       picture       pixels  in tiles  in one  off along the seams")
    for overlap_px in OVERLAPS_PX:
        tiles = Tiles(columns=options.columns, rows=options.rows, overlap_px=overlap_px)
        spec = Input(
            width=_tile_px(options.width, tiles.columns, overlap_px),
            height=_tile_px(options.height, tiles.rows, overlap_px),
            tiles=tiles,
        )
        width, height = spec.picture_px
        whole, whole_ms = _encoded(images, Input(width=width, height=height))
        stitched, stitched_ms = _encoded(images, spec)
        off = "  ".join(f"{name} {_off(name, whole, stitched, spec):.4f}" for name in shipped_encoder().maps)
        print(
            f"{overlap_px:>4} px  {spec.width:>3} × {spec.height:<3}  {width:>4} × {height:<4}"
            f"{spec.encoded_px / (width * height):>8.2f}{stitched_ms:>7.0f} ms{whole_ms:>5.0f} ms  {off}",
            flush=True,
        )


def _tile_px(length_px: int, count: int, overlap_px: int) -> int:
    stride_px = shipped_encoder().stride_px
    return round((length_px + (count - 1) * overlap_px) / count / stride_px) * stride_px


def _encoded(images: Sequence[Image], spec: Input) -> tuple[list[Features], float]:
    """What is seen, and the median time."""
    file = shipped_encoder()
    encoder = Encoder(file.file, spec, file.pooled, file.maps)
    seen, times_ms = [], []
    for image in images:
        tensor = prepare(image, spec)
        began_s = time.perf_counter()
        seen.append(encoder.encode(tensor))
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return seen, float(np.median(times_ms))


def _off(name: str, whole: Sequence[Features], stitched: Sequence[Features], spec: Input) -> float:
    one, other = (np.stack([features.maps[name] for features in seen]) for seen in (whole, stitched))
    deviations = one.reshape(-1, one.shape[-1]).std(axis=0) + 1e-6
    off = ((other - one) / deviations)[:, _beside_seams(spec, one.shape[1:3])]
    return float(np.sqrt(np.square(off).mean()))


def _beside_seams(spec: Input, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    beside = np.zeros(shape, dtype=np.bool_)
    assert spec.tiles is not None
    cell_px = spec.picture_px[1] // shape[0]
    for tile in tiles_of(spec):
        row, column = ((start + spec.tiles.overlap_px // 2) // cell_px for start in (tile.y, tile.x))
        if tile.row:
            beside[row - 1 : row + 1] = True
        if tile.column:
            beside[:, column - 1 : column + 1] = True
    return beside


if __name__ == "__main__":
    main()
