"""What a frame costs on this machine: measured in a fresh process, one core, against the bare encoder.

The parent starts the child (`python -m kenpin_agent.bench FOLDER [PICTURES]`) and takes the time until its
first verdict, as a person who powers a Pi would; then the child measures the rest and answers in JSON.

A frame is measured in the processor's time of its one thread: on an idle machine that is the time it takes, on a
busy one what it would take, since the turns of others don't count. Its stages, which are short, go by the clock.
"""

# ruff: noqa: PLC0415 (imports are part of what is timed)

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kenpin_agent.threads import one_thread_environment
from kenpin_wire.errors import ConfigError, KenpinError
from kenpin_wire.messages import Verdict

if TYPE_CHECKING:
    from kenpin_agent.release import Release
    from kenpin_agent.seams import Frame

ROUNDS = 200
LIVE_FRAMES = 300
"""Frames that are inspected and reported, every tenth of them as an anomaly, before memory is looked at."""
START_BUDGET_S = 2.0
RSS_BUDGET_MB = 150.0


@dataclass(frozen=True, slots=True)
class Report:
    """Medians, one thread.

    Attributes:
        input_px: Width and height of what the encoder sees of a picture, in `tiles` parts.
        picture_px: Width and height of the first picture.
        stages_ms: `invoke` (the encoder alone, once a tile), each stage of `inspect`, `jpeg` of the heatmap.
        frame_ms: Frame → verdict, without classifier and heatmap.
        ratio: Frame → verdict ÷ `invoke`; the median of 200 pairs, each measured one after the other.
        ratio_budget: What it may be at most.
        heatmap_ratio: What a heatmap of the oddest of the pictures adds to a frame, ÷ `frame_ms`.
        heatmap_ratio_budget: What it may be at most: a fifth of a frame if the head says where, a whole one if a
            decoder does.
        first_verdict_s: From the start of the process.
        rss_mb: Resident, in megabytes (10^6 bytes), after `LIVE_FRAMES` frames as an agent inspects and reports
            them while its broker is away: with link, outbox on disk, heatmaps and events.
    """

    release: str
    head: str
    input_px: tuple[int, int]
    tiles: int
    picture_px: tuple[int, int]
    stages_ms: Mapping[str, float]
    frame_ms: float
    ratio: float
    ratio_budget: float
    heatmap_ratio: float
    heatmap_ratio_budget: float
    first_verdict_s: float
    rss_mb: float


def run_bench(options: Namespace) -> int:
    """`kenpin-agent bench`. Reads `release` and, where the parser has them, `pictures` (a folder) and `json`.

    Raises:
        ConfigError, ReleaseError: if there is no release, or it does not load.
    """
    if options.release is None:
        raise ConfigError("no release to measure with", where="--release", remedy="Give a .kenpin file.")
    report = measure(options.release, getattr(options, "pictures", None))
    text = json.dumps(asdict(report), indent=2) if getattr(options, "json", False) else table(report)
    sys.stdout.write(text + "\n")
    return 0


def measure(release_file: Path, pictures: Path | None = None) -> Report:
    """Measure a release on this machine; some seconds.

    Args:
        release_file: The `.kenpin` file.
        pictures: A folder of pictures as the camera gives them; the release's golden pictures if None.

    Raises:
        ReleaseError: if the release is not sound.
        KenpinError: if the measuring process fails.
    """
    from kenpin_agent.release import read_manifest, unpack_release

    read_manifest(release_file)  # says in one line what is wrong with the path
    with tempfile.TemporaryDirectory(prefix="kenpin-bench-") as scratch:
        folder = Path(scratch) / "release"
        unpack_release(release_file, folder)
        command = [sys.executable, "-m", "kenpin_agent.bench", str(folder)]
        command += [str(pictures)] if pictures else []
        began_s = time.monotonic()
        child = subprocess.Popen(
            command, env=one_thread_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        first_verdict_s = time.monotonic() - began_s
        rest, complaint = child.communicate()
        if child.returncode != 0 or first.strip() not in ("normal", "anomaly"):
            lines = complaint.strip().splitlines() or ["no word"]
            raise KenpinError(f"measuring failed: {lines[-1]}", where=str(release_file))
    return Report(**json.loads(rest), first_verdict_s=first_verdict_s)


def table(report: Report) -> str:
    """The report for a person."""
    width, height = report.picture_px
    tiles = f" in {report.tiles} tiles" if report.tiles > 1 else ""
    lines = [
        f"{report.release}, head {report.head}, input {report.input_px[0]} × {report.input_px[1]}{tiles}, "
        f"pictures {width} × {height}; medians of {ROUNDS}, one thread",
        "",
        *(f"  {stage:<24}{ms:9.3f} ms" for stage, ms in report.stages_ms.items()),
        f"  {'frame to verdict':<24}{report.frame_ms:9.3f} ms",
        "",
        _row("frame / encoder invoke", report.ratio, report.ratio_budget, "×"),
        _row("heatmap / frame", report.heatmap_ratio, report.heatmap_ratio_budget, "×"),
        _row("start to first verdict", report.first_verdict_s, START_BUDGET_S, "s"),
        _row("resident memory", report.rss_mb, RSS_BUDGET_MB, "MB"),
    ]
    return "\n".join(lines)


def _row(name: str, value: float, budget: float, unit: str) -> str:
    return f"  {name:<24}{value:9.2f} {unit:<3} budget {budget:g} {'ok' if value <= budget else 'OVER'}"


def _child(folder: Path, pictures: Path | None) -> None:
    """First verdict at once, then the figures as JSON, on standard output."""
    from kenpin_agent.heap import give_back, one_heap

    one_heap()

    import numpy as np

    import kenpin_agent.assembly  # noqa: F401 (a real agent has all of this in memory)
    from kenpin_agent.inspect import inspect
    from kenpin_agent.judge import Judge, JudgeState
    from kenpin_agent.pictures import encode_jpeg, list_pictures, read_picture
    from kenpin_agent.release import load_release
    from kenpin_agent.seams import Frame
    from kenpin_agent.tiles import tiles_of

    release = load_release(folder, threads=1)
    manifest = release.manifest
    files = list_pictures(pictures) if pictures else [folder / golden.file for golden in manifest.golden]
    by = Judge(manifest.calibration.threshold)

    def look(image: Frame, heatmap: bool) -> dict[str, float]:
        began_s = time.thread_time()
        _, inspection = inspect(
            image, release, JudgeState(), by, wanted=lambda _: heatmap, monotonic_s=time.perf_counter
        )
        frame_ms = (time.thread_time() - began_s) * 1000
        times = {**inspection.timings_ms}
        times["frame"] = frame_ms - times.get("classify", 0.0)
        if inspection.heatmap is not None:
            times["jpeg"] = _ms(lambda: encode_jpeg(inspection.heatmap))  # type: ignore[arg-type]  # just seen
        verdicts.append(inspection.verdict.value)
        return times

    verdicts: list[str] = []
    frames = [Frame(read_picture(files[0]), 0, 0.0)]
    look(frames[0], heatmap=False)
    sys.stdout.write(verdicts[0] + "\n")
    sys.stdout.flush()
    give_back()

    frames += [Frame(read_picture(file), 0, 0.0) for file in files[1:8]]
    if pictures is None:  # one golden picture may be there a second time, enlarged
        frames = [frame for frame in frames if frame.image.shape == frames[0].image.shape]
    oddest = max(frames, key=lambda frame: release.score(frame.image))
    plain, drawn, invokes = [], [], []
    for round_number in range(ROUNDS):
        frame = frames[round_number % len(frames)]
        invokes.append(_ms(release.encoder.invoke))
        plain.append(look(frame, heatmap=False))
        if round_number % 10 == 0:
            drawn.append(look(oddest, heatmap=True))

    def median(times: list[dict[str, float]], stage: str) -> float:
        return float(np.median([entry[stage] for entry in times if stage in entry]))

    # Of neighbours in time, so that what else the machine does strikes both alike.
    ratio = float(np.median([entry["frame"] / ms for entry, ms in zip(plain, invokes, strict=True)]))
    invoke_ms, frame_ms = float(np.median(invokes)), median(plain, "frame")
    stages = {"invoke": invoke_ms}
    classify = ["classify"] if any("classify" in entry for entry in plain) else []
    stages |= {stage: median(plain, stage) for stage in ("prepare", "encode", "score", "judge", *classify)}
    stages |= {stage: median(drawn, stage) for stage in ("heatmap", "jpeg")}
    answer = {
        "release": release.label,
        "head": release.head.kind,
        "input_px": manifest.input.picture_px,
        "tiles": len(tiles_of(manifest.input)),
        "picture_px": frames[0].image.shape[1::-1],
        "stages_ms": {stage: round(ms, 4) for stage, ms in stages.items()},
        "frame_ms": round(frame_ms, 4),
        "ratio": round(ratio, 4),
        "ratio_budget": 1.6 if release.head.kind in ("patch_knn", "fusion") else 1.15,
        "heatmap_ratio": round(stages["heatmap"] / frame_ms, 4),
        "heatmap_ratio_budget": 1.0 if release.decoder else 0.2,
        "rss_mb": _live_rss_mb(release, frames, folder.parent),
    }
    sys.stdout.write(json.dumps(answer))


def _live_rss_mb(release: Release, frames: list[Frame], scratch: Path) -> float:
    """What an agent holds after `LIVE_FRAMES` frames; `scratch` is where its outbox lies."""
    from dataclasses import replace

    from kenpin_agent.clock import SystemClock
    from kenpin_agent.inspect import inspect
    from kenpin_agent.judge import Judge, JudgeState
    from kenpin_agent.link.outbox import Outbox
    from kenpin_agent.link.paho_link import PahoLink
    from kenpin_agent.link.settings import BrokerSettings
    from kenpin_agent.reporting import Reporter
    from kenpin_agent.telemetry import Vitals
    from kenpin_wire.topics import Address

    clock, address = SystemClock(), Address("bench", "bench", "bench")
    reporter = Reporter(address)
    nobody = BrokerSettings(port=1)
    link = PahoLink(nobody, address, Outbox(scratch / "outbox.sqlite", clock), clock)
    logging.disable(logging.WARNING)  # that nobody answers there
    link.start()
    judges = Judge(1e9), Judge(-1e9)  # for whom every part is good, and none
    for number in range(LIVE_FRAMES):
        frame = replace(frames[number % len(frames)], captured_s=clock.monotonic_s(), part=str(number))
        anomalous = number % 10 == 9
        _, inspection = inspect(
            frame,
            release,
            JudgeState(),
            judges[anomalous],
            wanted=lambda verdict: verdict is Verdict.ANOMALY,
            monotonic_s=clock.monotonic_s,
        )
        for message in reporter.report(inspection, wall_s=clock.wall_s()):
            link.publish(message)
    rss_mb = Vitals(scratch).memory_mb()
    link.stop()
    return rss_mb


def _ms(action: Callable[[], object]) -> float:
    began_s = time.thread_time()
    action()
    return (time.thread_time() - began_s) * 1000


if __name__ == "__main__":
    try:
        _child(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    except KenpinError as error:
        sys.exit(str(error))
