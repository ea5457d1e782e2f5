"""A device's TUF client without the device: python-tuf's own, reading a repository in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from kenpin_controller.errors import NotFoundError
from kenpin_controller.trust.repository import Repository


class TufClient:
    """Keeps what it knows in `folder`, as a device does.

    Args:
        root: The root metadata that it has pinned.
    """

    def __init__(self, folder: Path, root: bytes, repository: Repository) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._root = root
        self._fetcher = _Fetcher(repository)
        self._updater: Updater | None = None

    def refresh(self, now: datetime | None = None) -> None:
        """Raises as `tuf.ngclient.Updater.refresh`."""
        config = UpdaterConfig(prefix_targets_with_hash=False)
        self._updater = Updater(
            str(self._folder), "metadata", fetcher=self._fetcher, config=config, bootstrap=self._root
        )
        if now is not None:
            self._updater._trusted_set.reference_time = now
        self._updater.refresh()

    def find(self, name: str) -> TargetFile | None:
        assert self._updater is not None
        return self._updater.get_targetinfo(name)

    def read(self, name: str) -> bytes:
        """A small target, verified."""
        target = self.find(name)
        assert target is not None
        assert self._updater is not None
        place = self._folder / "target"
        self._updater.download_target(target, str(place), "targets")
        return place.read_bytes()


class _Fetcher(FetcherInterface):
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield self._repository.read(url.rpartition("/")[2])
        except NotFoundError:
            raise DownloadHTTPError(url, 404) from None
