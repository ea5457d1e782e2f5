"""Releases on arm64 beside this machine: `python bench/arm64.py ROOT RELEASE ...`, as root.

Each release is loaded by the agent's own code in a Debian bookworm arm64 system, which is what Raspberry Pi OS is
built on, under user-mode emulation of the Pi 3's, 4's and 5's cores; its golden pictures are scored there and here.
Ends with status 1 if a score differs from the release's by more than 0.001 of it.

ROOT is a folder for the arm64 system. If it is empty the system is made (some minutes; programs `debootstrap` and
`qemu-aarch64-static`, of the packages debootstrap and qemu-user-static), and the aarch64 wheels of what an agent
needs are put into it. Emulation says nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
Scores = dict[str, list[float]]
WHEELS = ("ai-edge-litert>=2.0", "numpy", "opencv-python-headless", "paho-mqtt", "psutil", "pydantic")
GLIBC_MINOR = 36  # bookworm has 2.36
TOLERANCE = 1e-3
BINFMT = Path("/proc/sys/fs/binfmt_misc")
INSIDE = "opt/kenpin"  # of ROOT
BOARDS = {"Pi 3": ("cortex-a53", "0xd03"), "Pi 4": ("cortex-a72", "0xd08"), "Pi 5": ("cortex-a76", "0xd0b")}
"""The core as qemu calls it, and its part number. With all that qemu can, "max", XNNPACK takes int8 kernels that
no Pi has, and what they give in emulation is noise."""
SCORE = "--score"  # what this script is told inside


def main() -> None:
    if sys.argv[1:2] == [SCORE]:
        print(json.dumps([score(Path(file)) for file in sys.argv[2:]]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("releases", nargs="+", type=Path)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    enable_emulation()
    if not (root / "etc" / "debian_version").exists():
        make_system(root)
    if not (root / INSIDE / "wheels").exists():
        install_wheels(root / INSIDE / "wheels")
    put_inside(root, arguments.releases)
    there = {board: score_there(root, board, len(arguments.releases)) for board in BOARDS}
    here = [score(file) for file in arguments.releases]
    sys.exit(report(arguments.releases, here, there))


def enable_emulation() -> None:
    """Let the kernel start arm64 programs through qemu."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    if not (BINFMT / "qemu-aarch64").exists():
        line = Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes()
        (BINFMT / "register").write_bytes(line)


def make_system(root: Path) -> None:
    command = ["debootstrap", "--arch=arm64", "--variant=minbase", "--include=python3,libstdc++6"]
    subprocess.run([*command, "bookworm", root], check=True)


def install_wheels(folder: Path) -> None:
    """The real aarch64 wheels, by this machine's pip: nothing of them is run here."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary=:all:",
        "--python-version=3.11",
    ]
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC_MINOR + 1)]
    platforms.append("--platform=manylinux2014_aarch64")
    subprocess.run([*command, *platforms, "--target", folder, *WHEELS], check=True)


def put_inside(root: Path, releases: list[Path]) -> None:
    inside = root / INSIDE
    for package in ("wire", "agent"):
        shutil.copytree(REPOSITORY / package, inside / package, dirs_exist_ok=True)
    shutil.copy(__file__, inside / "arm64.py")
    shutil.rmtree(inside / "releases", ignore_errors=True)
    (inside / "releases").mkdir()
    for number, file in enumerate(releases):
        shutil.copy(file, inside / "releases" / f"{number}.kenpin")


def score_there(root: Path, board: str, count: int) -> list[Scores]:
    """The same as `score` for each release, on a board's core."""
    core, part = BOARDS[board]
    # Without these LiteRT does not know the processor, and leaves XNNPACK out.
    processors = root / "sys" / "devices" / "system" / "cpu"
    processors.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (processors / name).write_text("0-3\n")
    about = f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\n"
    told = "".join(f"processor\t: {number}\n{about}\n" for number in range(4))
    (root / "proc" / "cpuinfo").write_text(told)
    path = ":".join(f"/{INSIDE}/{folder}" for folder in ("wheels", "wire", "agent"))
    files = [f"/{INSIDE}/releases/{number}.kenpin" for number in range(count)]
    done = subprocess.run(
        ["chroot", root, "/usr/bin/python3", f"/{INSIDE}/arm64.py", SCORE, *files],
        env={"PYTHONPATH": path, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "QEMU_CPU": core, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or "XNNPACK" not in done.stderr:
        sys.exit(f"on the {board}: {done.stderr.strip() or 'no XNNPACK'}")
    found: list[Scores] = json.loads(done.stdout.splitlines()[-1])
    return found


def score(file: Path) -> Scores:
    """What the release says its golden pictures score, and what they score on this machine."""
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(
        file
    ) as release_file:  # says whether XNNPACK took it, which the agent keeps quiet about
        Interpreter(model_content=release_file.read("encoder.tflite")).allocate_tensors()

    from kenpin_agent.pictures import read_picture
    from kenpin_agent.release import load_release, unpack_release

    with tempfile.TemporaryDirectory() as folder:
        unpack_release(file, Path(folder) / "release")
        release = load_release(Path(folder) / "release")
        golden = release.manifest.golden
        found = [release.score(read_picture(release.folder / entry.file)) for entry in golden]
    return {"said": [entry.score for entry in golden], "found": found}


def report(releases: list[Path], here: list[Scores], there: dict[str, list[Scores]]) -> int:
    """Print a Markdown table of relative differences; 1 if one is too great, else 0."""
    from kenpin_agent.release import read_manifest

    print(f"| release | head | encoder | golden pictures | this machine | {' | '.join(there)} |")
    print("|---|---|---|---|---|" + "---|" * len(there))
    worst = 0.0
    for number, file in enumerate(releases):
        manifest = read_manifest(file)
        found = [off(scores) for scores in (here[number], *(each[number] for each in there.values()))]
        worst = max(worst, *found)
        cells = [file.name, manifest.head.kind, manifest.encoder.precision, str(len(manifest.golden))]
        print(f"| {' | '.join(cells + [f'{each:.1e}' for each in found])} |")
    print(
        f"\nGreatest relative difference to the release's own scores {worst:.1e}; {TOLERANCE:g} is allowed."
    )
    return int(not worst <= TOLERANCE)


def off(scores: Scores) -> float:
    return max(
        abs(one - other) / abs(one) for one, other in zip(scores["said"], scores["found"], strict=True)
    )


if __name__ == "__main__":
    main()
