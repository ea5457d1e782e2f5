"""The report goes where the release goes: beside its file, and inside it, though not onto a device."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from kenpin_agent.release import MAX_PAGE_BYTES, read_manifest, read_report_page, unpack_release
from kenpin_models.bundle import Content, page_beside, write_release
from kenpin_models.samples import Eye
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import Calibration, File, Heatmap, Manifest, parse_manifest
from kenpin_wire.messages import ReleaseName
from support.small_release import INPUT, make_head, members_of, part, write_zip

PAGE = "<!doctype html><title>検品</title>"


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(
        name=ReleaseName(name="discs", version="1"),
        head=make_head("padim"),
        calibration=Calibration(scores=[1.0], false_rejects=0.01, threshold=2.0),
        heatmap=Heatmap(normal=1.0, limit=2.0),
        golden=[part(1)],
        fitted_on=[],
        calibrated_on=[],
        report={},
        report_page=PAGE,
    )


@pytest.fixture
def release(content: Content, tmp_path: Path) -> Path:
    write_release(tmp_path / "discs-1.kenpin", content, Eye(INPUT))
    return tmp_path / "discs-1.kenpin"


def changed(release: Path, **members: bytes) -> Path:
    """The release with other members; `report` stands for report.html."""
    files = {
        **members_of(release),
        **{name.replace("report", "report.html"): data for name, data in members.items()},
    }
    return write_zip(
        release.with_name("changed.kenpin"), {name: data for name, data in files.items() if data}
    )


def test_it_lies_beside_the_release_and_inside_it(release: Path) -> None:
    assert release.with_suffix(".html").read_text(encoding="utf-8") == PAGE
    assert read_report_page(release) == PAGE.encode()


def test_a_device_does_not_unpack_it(release: Path, tmp_path: Path) -> None:
    unpack_release(release, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked" / "report.html").exists()
    unpack_release(changed(release, report=b""), tmp_path / "without")


def test_a_release_without_one_has_none(content: Content, tmp_path: Path) -> None:
    write_release(tmp_path / "plain.kenpin", replace(content, report_page=None), Eye(INPUT))
    assert read_report_page(tmp_path / "plain.kenpin") is None
    assert not (tmp_path / "plain.html").exists()


@pytest.mark.parametrize(
    ("report", "says"),
    [(b"", "missing"), (b"<script>", "not what its manifest says"), (PAGE.encode() + b" ", "not what")],
)
def test_one_that_was_tampered_with_is_not_shown(release: Path, report: bytes, says: str) -> None:
    with pytest.raises(ReleaseError, match=says):
        read_report_page(changed(release, report=report))


def test_one_that_is_absurdly_large_is_not_read(release: Path) -> None:
    page = bytes(MAX_PAGE_BYTES + 1)
    manifest = read_manifest(release)
    entry = File(file="report.html", sha256=hashlib.sha256(page).hexdigest(), size=len(page))
    large = manifest.model_copy(update={"report_page": entry}).model_dump_json().encode()
    file = write_zip(
        release.with_name("large.kenpin"),
        {**members_of(release), "manifest.json": large, "report.html": page},
    )
    with pytest.raises(ReleaseError, match="larger than"):
        read_report_page(file)


def test_a_manifest_from_before_reports_still_reads(release: Path) -> None:
    before = read_manifest(release).model_dump(exclude={"report_page"}, mode="json")
    assert parse_manifest(Manifest.model_validate(before).model_dump_json().encode(), "x").report_page is None


@pytest.mark.parametrize(
    ("file", "page"),
    [
        ("a.kenpin", "a.html"),
        ("a-1.0.kenpin", "a-1.0.html"),
        ("a-1.0", "a-1.0.html"),
        ("a.html", "a.html.html"),
    ],
)
def test_its_page_never_takes_the_release_s_own_place(file: str, page: str) -> None:
    assert page_beside(Path(file)).name == page
