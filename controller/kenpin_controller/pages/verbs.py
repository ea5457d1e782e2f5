"""What a person can do about a rollout and its devices, and the questions that go before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.asking import ask_why
from kenpin_controller.pages.parts import WHO, attempt
from kenpin_controller.pages.rollout_words import switched, waits_for_a_person
from kenpin_controller.rollouts.views import RolloutDeviceView, RolloutView, Stage, Status
from kenpin_controller.why import score_text


def offers(view: RolloutView) -> tuple[str, ...]:
    """Which verbs make sense for a rollout as it stands, the one most likely meant first."""
    going = view.status in (Status.RUNNING, Status.PAUSED)
    found = []
    if going and waits_for_a_person(view):
        found.append("approve")
    if view.status is Status.PAUSED:
        found.append("resume")
    if view.status is Status.RUNNING:
        found.append("pause")
    if going:
        found.append("abort")
    if any(switched(device) for device in view.devices.values()) and view.status is not Status.REVERTING:
        found.append("return")
    return tuple(found)


def device_offers(view: RolloutView, device: RolloutDeviceView) -> tuple[str, ...]:
    """As `offers`, for one device of it."""
    going = view.status in (Status.RUNNING, Status.PAUSED)
    found = []
    if device.can_approve:
        found.append("approve")
        if device.proposed_threshold is not None:
            found.append("approve with threshold")
    if going and (device.stage in (Stage.FAILED, Stage.RETRYING) or device.behind):
        found.append("retry")
    if going and device.stage in _SKIPPABLE:
        found.append("skip")
    if switched(device):
        found.append("return")
    return tuple(found)


class Verbs:
    """Does them on one rollout.

    Args:
        then: Called after each, to show at once what it changed.
    """

    def __init__(self, rollout_id: str, operations: Operations, then: Callable[[], Awaitable[None]]) -> None:
        self._id, self._operations, self._then = rollout_id, operations, then

    async def approve(self) -> None:
        await self._do(lambda: self._operations.approve_wave(self._id, who=WHO), "Approved: it goes on.")

    async def pause(self) -> None:
        await self._do(
            lambda: self._operations.pause_rollout(self._id, who=WHO),
            "Paused: no new order goes out; what is under way goes on.",
        )

    async def resume(self) -> None:
        await self._do(lambda: self._operations.resume_rollout(self._id, who=WHO), "It goes on.")

    async def abort(self) -> None:
        said = await ask_why(
            "Abort this rollout?",
            "What has not switched stays as it is, and no other camera gets it.",
            "Abort",
            option="Send the cameras that switched back to what ran before",
            chosen=True,
        )
        if said is not None:
            await self._do(
                lambda: self._operations.abort_rollout(
                    self._id, revert=said.option, why=said.reason, who=WHO
                ),
                "Aborted.",
            )

    async def send_back(self, cameras: int) -> None:
        said = await ask_why(
            "Send everything back?",
            f"{words.count(cameras, 'camera')} that switched return to what ran before. The old release lies "
            "on each of them still, so this needs no download.",
            "Send back",
        )
        if said is not None:
            await self._do(
                lambda: self._operations.return_rollout(self._id, why=said.reason, who=WHO),
                "On the way back.",
            )

    async def approve_device(self, device: str, *, with_threshold: bool = False) -> None:
        await self._do(
            lambda: self._operations.approve_device(self._id, device, with_threshold=with_threshold, who=WHO),
            f"{device} may switch.",
        )

    async def retry_device(self, device: str) -> None:
        await self._do(
            lambda: self._operations.retry_device(self._id, device, who=WHO), f"{device} is asked again."
        )

    async def skip_device(self, device: str) -> None:
        said = await ask_why(
            f"Go on without {device}?", "It keeps what it runs, and no gate waits for it.", "Skip it"
        )
        if said is not None:
            await self._do(
                lambda: self._operations.skip_device(self._id, device, why=said.reason, who=WHO),
                f"{device} is skipped.",
            )

    async def return_device(self, device: str, before: str) -> None:
        said = await ask_return(device, before)
        if said is not None:
            await self._do(
                lambda: self._operations.return_device(device, why=said, who=WHO),
                f"{device} is on its way back.",
            )

    def of_device(self, device: RolloutDeviceView, offer: str) -> tuple[str, Callable[[], Awaitable[None]]]:
        """What a button for one of `device_offers` says, and what it does."""
        name = device.device
        match offer:
            case "approve":
                return "Let it switch", lambda: self.approve_device(name)
            case "approve with threshold":
                threshold = score_text(device.proposed_threshold or 0.0)
                return (
                    f"Let it switch, with threshold {threshold}",
                    lambda: self.approve_device(name, with_threshold=True),
                )
            case "retry":
                return "Ask again now", lambda: self.retry_device(name)
            case "skip":
                return "Skip it …", lambda: self.skip_device(name)
            case _:
                return "Send it back …", lambda: self.return_device(name, device.before)

    async def _do(self, action: Callable[[], object], done: str) -> None:
        if await attempt(lambda: action() or True) is not None:
            ui.notify(done)
            await self._then()


async def ask_return(device: str, before: str) -> str | None:
    """Why a device shall go back to the release before. None if it shall not."""
    to = before or "the release before"
    said = await ask_why(
        f"Send {device} back?",
        f"It switches to {to}, which lies on its card still: no download, and no part is missed.",
        "Send back",
    )
    return said.reason if said is not None else None


_SKIPPABLE = frozenset({Stage.HELD, Stage.WAITING, Stage.RETRYING, Stage.UNDER_WAY, Stage.FAILED})
