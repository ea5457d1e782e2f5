"""Releases on a device: out of the zip with suspicion, into memory, and against their golden pictures."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kenpin_agent.classifier import Classifier
from kenpin_agent.decoder import Decoder, Floats
from kenpin_agent.encoder import Encoder, Features
from kenpin_agent.files import sync_folder
from kenpin_agent.heads import Assessment, Head, load_head
from kenpin_agent.pictures import read_picture
from kenpin_agent.prepare import Tensor, prepare
from kenpin_agent.seams import Image
from kenpin_wire.errors import PictureError, ReleaseError
from kenpin_wire.manifest import MANIFEST_FILE, File, Golden, Manifest, parse_manifest
from kenpin_wire.messages import Roi

MAX_RELEASE_BYTES = 256 * 1024 * 1024  # unpacked, all files: fifty times the typical release
MAX_MANIFEST_BYTES = 8 * 1024 * 1024  # some 100,000 picture ids
MAX_MEMBERS = 256
MAX_PAGE_BYTES = 4 * 1024 * 1024  # of a report: ten times what the trainer writes
CONFIDENCE_TOLERANCE = 0.02  # x86-64 and aarch64 differ by a thousandth of it, and in int8 by a step of 1/256


class SlotDamagedError(ReleaseError):
    """What was unpacked soundly is missing, altered or cannot be read now: the disk's fault, not the release's."""


@dataclass(frozen=True, eq=False)
class Release:
    """A release that is ready to inspect with.

    Attributes:
        folder: Where it lies unpacked.
        classifier: Names what was judged normal, if the release has one.
        decoder: Finds what the heatmap shows, if the release has one; else the head does.
    """

    manifest: Manifest
    encoder: Encoder
    head: Head
    folder: Path
    classifier: Classifier | None = None
    decoder: Decoder | None = None

    @property
    def label(self) -> str:
        """`name-version`, as scores and thresholds name it."""
        return str(self.manifest.release)

    def features(self, image: Image, roi: Roi | None = None) -> Features:
        """What the encoder sees in a picture.

        Raises:
            ConfigError: if `roi` leaves the picture.
        """
        return self.encoder.encode(prepare(image, self.manifest.input, roi))

    def score(self, image: Image, roi: Roi | None = None) -> float:
        """A picture's score, not smoothed. Raises as `features`."""
        return self.head.score(self.features(image, roi))

    def patch_scores(self, picture: Tensor, features: Features, found: Assessment) -> Floats:
        """How odd each place is, as the heatmap draws it; shape (h, w).

        Args:
            picture: As `prepare` makes it; `features` is what the encoder saw in it, and `found` what the head made
                of that.

        Raises:
            ReleaseError: if the decoder fails.
        """
        return self.decoder.patch_scores(features, picture) if self.decoder else found.patch_scores()


def read_manifest(file: Path) -> Manifest:
    """The manifest of a release's file, without unpacking or checking the rest.

    Raises:
        ReleaseError: if the file cannot be read or is no release.
    """
    try:
        with file.open("rb") as stream:
            return _open_zip(stream, file.name)[1]
    except OSError as error:
        raise ReleaseError.from_os(error, where=str(file)) from None


def read_report_page(file: Path) -> bytes | None:
    """The training's report out of a release's file, HTML as the trainer wrote it; None if there is none.

    It is whatever the file's maker put there: show it as such. Devices have no use for it, so `unpack_release`
    passes it over.

    Raises:
        ReleaseError: as `read_manifest`, or if the report is damaged, too large or not what the manifest says.
    """
    try:
        with file.open("rb") as stream:
            archive, manifest = _open_zip(stream, file.name)
            entry = manifest.report_page
            if entry is None:
                return None
            if entry.file not in archive.namelist():
                raise _damaged(f"{entry.file} is missing", file.name)
            if entry.size > MAX_PAGE_BYTES:
                raise _damaged(f"{entry.file} is larger than {MAX_PAGE_BYTES} bytes", file.name)
            with archive.open(entry.file) as member:
                page = member.read(entry.size + 1)
    except _DAMAGE as error:
        raise _damaged(f"its report is damaged ({error})", file.name) from None
    except OSError as error:
        raise ReleaseError.from_os(error, where=str(file)) from None
    if len(page) != entry.size or hashlib.sha256(page).hexdigest() != entry.sha256:
        raise _damaged(f"{entry.file} is not what its manifest says (sha256 differs)", file.name)
    return page


def unpack_release(file: Path, into: Path) -> Manifest:
    """Unpack a release's file and check all of it against its manifest.

    Args:
        file: The zip; need not end with `.kenpin`.
        into: The folder to make; it must not be there yet. It appears whole and synced, or not at all.

    Raises:
        ReleaseError: if the file is no release, damaged, tampered with, too large, or of a newer schema.
        OSError: if `file` cannot be read or the disk cannot take it.
    """
    beside = into.with_name(f".{into.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        with file.open("rb") as stream:
            archive, manifest = _open_zip(stream, file.name)
            for entry in _files(manifest):
                _extract(archive, entry, beside / entry.file, file.name)
            # Last, so that a folder with a manifest is a whole one.
            _write_synced(beside / MANIFEST_FILE, lambda out: out.write(archive.read(MANIFEST_FILE)))
        for folder in {path.parent for path in beside.rglob("*")}:
            sync_folder(folder)
        beside.rename(into)
        sync_folder(into.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return manifest


def load_release(folder: Path, *, threads: int = 1) -> Release:
    """Load an unpacked release, after checking every file's hash again: disks rot.

    Args:
        threads: Of an encoder's invoke.

    Raises:
        SlotDamagedError: if a file is missing or altered.
        ReleaseError: if encoder and head do not work, or not together.
    """
    where = str(folder)
    try:
        manifest = parse_manifest((folder / MANIFEST_FILE).read_bytes(), where)
        for entry in _files(manifest):
            with (folder / entry.file).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != entry.sha256:
                raise SlotDamagedError(f"{entry.file} was altered", where=where, remedy=_FETCH_AGAIN)
    except OSError as error:
        missing = Path(error.filename).name if error.filename else "a file"
        raise SlotDamagedError(
            f"{missing} cannot be read ({error.strerror})", where=where, remedy=_FETCH_AGAIN
        ) from None
    section, head = manifest.encoder, manifest.head
    encoder = Encoder(
        folder / section.file, manifest.input, section.pooled, section.maps, threads=threads, where=where
    )
    release = Release(
        manifest,
        encoder,
        load_head(head.kind, _arrays(folder / head.file, where), head.parameters, where=where),
        folder,
        _classifier(manifest, folder, threads),
        _decoder(manifest, folder, encoder, threads),
    )
    _try_out(release)
    return release


def check_golden(release: Release) -> None:
    """Score the golden pictures: the same encoder, head and preprocessing must give the same scores here, and the
    same classifier the same labels.

    Raises:
        ReleaseError: naming the picture, what was expected and what was found.
    """
    for golden in release.manifest.golden:
        try:
            image = read_picture(release.folder / golden.file)
        except PictureError as error:
            raise ReleaseError(str(error), where=release.label, remedy=_FETCH_AGAIN) from None
        found = release.score(image)
        if not abs(found - golden.score) <= golden.tolerance:  # `>` would let NaN pass
            raise _differs(
                release, golden, f"scores {found:.6g} here, not {golden.score:.6g} ± {golden.tolerance:.2g}"
            )
        if release.classifier is None or golden.label is None:
            continue
        named = release.classifier.classify(image)
        confidence = golden.confidence if golden.confidence is not None else named.confidence
        if named.label != golden.label or abs(named.confidence - confidence) > CONFIDENCE_TOLERANCE:
            raise _differs(
                release,
                golden,
                f"is called {named.label} here ({named.confidence:.3f}), not {golden.label} ({confidence:.3f})",
            )


def _differs(release: Release, golden: Golden, how: str) -> ReleaseError:
    return ReleaseError(
        f"golden picture {golden.file} {how}",
        where=release.label,
        remedy="It would judge differently on this device. Make the release again, "
        "with the same program version as the device's.",
    )


_FETCH_AGAIN = "Fetch the release again, or make it again with `kenpin train`."
_CHUNK_BYTES = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for damaged, encrypted or strangely compressed archives."""


def _files(manifest: Manifest) -> list[File]:
    models = (manifest.encoder, manifest.head, manifest.classifier, manifest.decoder)
    return [*(entry for entry in models if entry is not None), *manifest.golden]


def _classifier(manifest: Manifest, folder: Path, threads: int) -> Classifier | None:
    section = manifest.classifier
    if section is None:
        return None
    return Classifier(folder / section.file, section, threads=threads, where=str(folder))


def _decoder(manifest: Manifest, folder: Path, encoder: Encoder, threads: int) -> Decoder | None:
    if manifest.heatmap.kind == "patch":
        return None
    section = manifest.decoder
    if section is None:
        raise _damaged("its heatmap is a decoder's, and it has none", str(folder))
    sample, pooled = encoder.encode(_grey(manifest)), manifest.encoder.pooled
    return Decoder(folder / section.file, section, pooled, sample, threads=threads, where=str(folder))


def _damaged(what: str, where: str) -> ReleaseError:
    return ReleaseError(what, where=where, remedy=_FETCH_AGAIN)


def _open_zip(stream: IO[bytes], where: str) -> tuple[zipfile.ZipFile, Manifest]:
    """Open the archive and read its manifest; nothing else is taken out but what the manifest names."""
    try:
        archive = zipfile.ZipFile(stream)
    except _DAMAGE:
        raise _damaged("not a release, or cut short (it is no zip archive)", where) from None
    names = _member_names(archive, where)
    try:
        text = archive.read(MANIFEST_FILE)
    except _DAMAGE as error:
        raise _damaged(f"its {MANIFEST_FILE} is damaged ({error})", where) from None
    manifest = parse_manifest(text, where)
    files = _files(manifest)
    if len({entry.file for entry in files} | {MANIFEST_FILE}) != len(files) + 1:
        raise _damaged("its manifest names a file twice", where)
    if sum(entry.size for entry in files) > MAX_RELEASE_BYTES:
        raise _damaged(f"larger than {MAX_RELEASE_BYTES} bytes when unpacked", where)
    for entry in files:
        if entry.file not in names:
            raise _damaged(f"{entry.file} is missing", where)
    return archive, manifest


def _member_names(archive: zipfile.ZipFile, where: str) -> set[str]:
    """The archive's names, after a look at its directory; no content is read."""
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(members) > MAX_MEMBERS:
        raise _damaged(f"holds {len(members)} files, more than {MAX_MEMBERS}", where)
    if len(names) != len(members):
        raise _damaged("holds a file twice", where)
    for member in members:
        name = member.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise _damaged(f"holds a file that would land outside its folder ({name[:80]})", where)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _damaged(f"{name} is not packed as in a release", where)
    if MANIFEST_FILE not in names:
        raise _damaged(f"not a release: it has no {MANIFEST_FILE}", where)
    if archive.getinfo(MANIFEST_FILE).file_size > MAX_MANIFEST_BYTES:
        raise _damaged(f"its {MANIFEST_FILE} is larger than {MAX_MANIFEST_BYTES} bytes", where)
    return names


def _extract(archive: zipfile.ZipFile, entry: File, path: Path, where: str) -> None:
    """Copy a member out in chunks, never more of it than the manifest allows."""
    path.parent.mkdir(exist_ok=True)
    digest, size = hashlib.sha256(), 0

    def copy(out: IO[bytes]) -> None:
        nonlocal size
        with archive.open(entry.file) as member:
            while chunk := member.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > entry.size:
                    raise _damaged(f"{entry.file} is longer than its manifest says", where)
                digest.update(chunk)
                out.write(chunk)

    try:
        _write_synced(path, copy)
    except _DAMAGE as error:
        raise _damaged(f"{entry.file} is damaged ({error})", where) from None
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise _damaged(f"{entry.file} is not what its manifest says (sha256 differs)", where)


def _write_synced(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with path.open("wb") as out:
        write(out)
        out.flush()
        os.fsync(out.fileno())


def _arrays(file: Path, where: str) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_RELEASE_BYTES:
                raise _damaged(f"{file.name} is larger than {MAX_RELEASE_BYTES} bytes when unpacked", where)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (*_DAMAGE, OSError, KeyError) as error:
        raise _damaged(f"{file.name} cannot be read ({error})", where) from None


def _try_out(release: Release) -> None:
    """One grey picture through all of it: a head that was made for another encoder is found now, and what is
    computed on first use is computed before the first part comes."""
    picture = _grey(release.manifest)
    features = release.encoder.encode(picture)
    try:
        found = release.head.assess(features)
        patch_scores = release.patch_scores(picture, features, found)
    except (KeyError, ValueError, IndexError) as error:
        raise ReleaseError(
            f"its head does not fit its encoder ({error})",
            where=release.label,
            remedy="Make the release again with `kenpin train`.",
        ) from None
    if not np.isfinite(found.score) or not np.isfinite(patch_scores).all():
        raise ReleaseError(
            "its head or decoder gives no finite score for a grey picture",
            where=release.label,
            remedy="Make the release again with `kenpin train`.",
        )


def _grey(manifest: Manifest) -> Tensor:
    width, height = manifest.input.picture_px
    return np.full((1, height, width, 3), 128, dtype=np.float32)
