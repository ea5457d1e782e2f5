"""From a fetched file to a release in memory that gives its golden scores here, or the event that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kenpin_agent.deployment.events import Event, FetchFailed, HashDiffers, Refused, SlotDamaged, Verified
from kenpin_agent.deployment.slots import Slots, disk_reason
from kenpin_agent.deployment.state import Installed, State
from kenpin_agent.heap import give_back
from kenpin_agent.release import Release, SlotDamagedError, check_golden, load_release, unpack_release
from kenpin_wire.errors import ReleaseError
from kenpin_wire.messages import ReleaseName


class Loader(Protocol):
    """What can be done with a release's file. Every method may raise `ReleaseError`."""

    def unpack(self, file: Path, into: Path) -> ReleaseName:
        """Make the folder `into`: whole and synced, or not at all. Raises OSError too."""

    def load(self, folder: Path) -> Release:
        """Read it into memory, after checking all its files against its manifest.

        Raises:
            SlotDamagedError: if they are not what was unpacked.
        """

    def prove(self, release: Release) -> None:
        """Try it out on its golden pictures."""


class RealLoader:
    """`kenpin_agent.release`'s.

    Args:
        threads: Inference threads that a loaded release gets.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def unpack(self, file: Path, into: Path) -> ReleaseName:
        return unpack_release(file, into).release

    def load(self, folder: Path) -> Release:
        return load_release(folder, threads=self._threads)

    def prove(self, release: Release) -> None:
        check_golden(release)


def verify(state: State, slots: Slots, loader: Loader) -> tuple[Event, Release | None]:
    """Put the order's release into the candidate's slot, unless it lies there, and try it out. `state` must be
    stored already: the slot may be cleared."""
    order = state.order
    assert order is not None
    try:
        if state.candidate is not None:
            return _from_slot(state.candidate, slots, loader)
        return _from_file(state, slots, loader)
    except SlotDamagedError as error:
        return (SlotDamaged if state.candidate else FetchFailed)(str(error)), None
    except ReleaseError as error:
        return Refused(str(error)), None
    except FileNotFoundError:
        return HashDiffers(), None
    except OSError as error:
        return FetchFailed(disk_reason(error, 2 * order.size)), None
    except MemoryError:
        return FetchFailed("this device's memory does not hold it beside the release that runs"), None
    except Exception as error:  # noqa: BLE001  the line goes on whatever a release brings
        return Refused(f"it cannot be tried out here: {type(error).__name__}: {error}"), None


def _from_file(state: State, slots: Slots, loader: Loader) -> tuple[Event, Release | None]:
    order = state.order
    assert order is not None
    blob, slot = slots.blob(order.sha256), state.candidate_slot
    if slots.disk.sha256(blob) != order.sha256:
        return HashDiffers(), None
    folder = slots.clear(slot)
    name = loader.unpack(blob, folder)
    if name != order.release:
        return Refused(f"the file holds {name}, not {order.release}"), None
    release = loader.load(folder)
    loader.prove(release)
    give_back()  # two releases are in memory now; what unpacking took need not be besides
    return Verified(slots.manifest_sha256(slot)), release


def _from_slot(candidate: Installed, slots: Slots, loader: Loader) -> tuple[Event, Release | None]:
    release = loader.load(slots.check(candidate))
    loader.prove(release)
    return Verified(slots.manifest_sha256(candidate.slot)), release
