"""The site's TUF repository as a device sees it: `tuf.ngclient` with our fetching, our clock and our disk.

The client workflow, and with it the answer to rollback, freeze, mix-and-match and endless data, is python-tuf's
(https://theupdateframework.github.io/specification/latest/, section 5). Imported late: it brings tuf along.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from kenpin_agent.files import write_atomically
from kenpin_agent.trust.fetching import Fetch, NotThereError
from kenpin_wire.errors import RepositoryAwayError, RepositoryExpiredError, TrustError

MAX_TARGET_BYTES = 64 * 1024
"""Of a target that is read into memory; releases come by blocks."""

_METADATA, _TARGETS = "metadata", "targets"  # what the updater takes for their addresses


class Repository:
    """One repository, its metadata kept in `folder`; nobody else may use that folder.

    Args:
        folder: Made if it is not there. A cache that was torn or lost is fetched again; only what it knew of
            newer versions than the repository shows is lost with it, so files are synced before they count.
        root: The pinned root metadata; newer ones are followed from it.
        fetch: Gives metadata, and targets too unless they lie elsewhere.
        fetch_target: Gives targets; by their hashed names where the repository keeps consistent snapshots.
    """

    def __init__(self, folder: Path, root: bytes, fetch: Fetch, fetch_target: Fetch | None = None) -> None:
        self._folder = folder
        self._root = root
        self._fetcher = _Fetcher(fetch, fetch_target or fetch)
        self._config = UpdaterConfig(
            root_max_length=128 * 1024,
            timestamp_max_length=16 * 1024,
            snapshot_max_length=256 * 1024,
            targets_max_length=1024 * 1024,  # some 8,000 releases
        )
        self._made: _Updater | None = None

    def refresh(self, now: datetime) -> None:
        """Bring the metadata up to date, as of `now`.

        Raises:
            RepositoryExpiredError: if what the repository has expired before `now`.
            RepositoryAwayError: if it cannot be had or kept, or what came is not what the repository's keys signed.
            TrustError: if the pinned root is no root metadata that its own keys have signed.
        """
        with _said_plainly(now):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._made = self._new_updater()  # one refresh is all that an Updater does
            self._updater._trusted_set.reference_time = now  # it asks the wall clock otherwise
            self._updater.refresh()

    def find(self, name: str) -> TargetFile | None:
        """What the targets metadata says of a target; None if it names none. After a refresh that succeeded.

        Raises:
            RepositoryAwayError: if delegated metadata cannot be had.
        """
        with _said_plainly(self._updater._trusted_set.reference_time):
            return self._updater.get_targetinfo(name)

    def read(self, target: TargetFile) -> bytes:
        """Fetch a small target and verify it.

        Raises:
            TrustError: if it is larger than `MAX_TARGET_BYTES`.
            RepositoryAwayError: if it cannot be had, or is not what was signed.
        """
        if target.length > MAX_TARGET_BYTES:
            raise TrustError(f"{target.length} bytes, more than {MAX_TARGET_BYTES}", where=target.path)
        place = self._folder / ".target"
        try:
            with _said_plainly(self._updater._trusted_set.reference_time):
                self._updater.download_target(target, str(place), _TARGETS)
                return place.read_bytes()
        finally:
            place.unlink(missing_ok=True)

    @property
    def until(self) -> datetime:
        """When the earlier of root and targets metadata expires. After a refresh that succeeded."""
        trusted = self._updater._trusted_set
        return min(trusted.root.expires, trusted.targets.expires)

    @property
    def _updater(self) -> _Updater:
        assert self._made is not None, "refresh it first"
        return self._made

    def _new_updater(self) -> _Updater:
        try:
            return _Updater(
                str(self._folder), _METADATA, fetcher=self._fetcher, config=self._config, bootstrap=self._root
            )
        except RepositoryError as error:
            raise TrustError(
                f"it is no TUF root metadata that its own keys signed ({error})",
                where="trust.root",
                remedy="Take the root.json that `kenpin keys` wrote.",
            ) from None


class _Updater(Updater):
    def _persist_file(self, filename: str, data: bytes) -> None:
        """python-tuf renames without a sync: after a power cut the file could be empty, and with it gone what
        protects from rollback."""
        write_atomically(Path(filename), data)


class _Fetcher(FetcherInterface):
    def __init__(self, fetch: Fetch, fetch_target: Fetch) -> None:
        self._from = {_METADATA: fetch, _TARGETS: fetch_target}

    def _fetch(self, url: str) -> Iterator[bytes]:
        place, _, name = url.partition("/")
        try:
            yield from self._from[place](name)
        except NotThereError:
            raise DownloadHTTPError(f"{name} is not there", 404) from None
        except RepositoryAwayError as error:
            raise DownloadError(str(error)) from error


@contextmanager
def _said_plainly(now: datetime) -> Iterator[None]:
    """Turn tuf's errors into ours."""
    where = "the site's metadata"
    try:
        yield
    except ExpiredMetadataError as error:
        raise RepositoryExpiredError(
            str(error),
            where=where,
            remedy=f"This device takes it for {now:%Y-%m-%d %H:%M} UTC: if that is wrong, set its clock; "
            "otherwise see why the controller does not renew it.",
        ) from None
    except DownloadLengthMismatchError as error:
        raise RepositoryAwayError(
            str(error), where=where, remedy="See who answers for the controller."
        ) from None
    except DownloadError as error:
        if isinstance(error.__cause__, RepositoryAwayError):
            raise error.__cause__ from None
        raise RepositoryAwayError(
            str(error), where=where, remedy="See whether the controller publishes it."
        ) from None
    except LengthOrHashMismatchError as error:
        raise RepositoryAwayError(
            f"not the file that was signed ({error})",
            where=where,
            remedy="See who answers for the controller.",
        ) from None
    except RepositoryError as error:
        raise RepositoryAwayError(
            f"it is not what the site's keys signed last ({error})",
            where=where,
            remedy="See who answers for the controller.",
        ) from None
    except OSError as error:
        raise RepositoryAwayError.from_os(error, where=where) from None
