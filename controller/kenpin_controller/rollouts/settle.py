"""When a rollout that goes back has come to its end."""

from __future__ import annotations

from kenpin_controller.rollouts.views import Stage, Status
from kenpin_controller.rollouts.work import Work


def settle(work: Work) -> None:
    """A rollout that reverts is over once every device is back, or left behind."""
    if work.state.status is not Status.REVERTING:
        return
    on_way = (Stage.RETURNING, Stage.CANCELLING)
    if not any(d.stage in on_way and not d.behind for d in work.devices.values()):
        work.become(status=Status.REVERTED, ended_s=work.now_s)
        late = sum(d.stage in on_way for d in work.devices.values())
        work.say(
            "taken back"
            + (f", but for {late} that are silent and find it when they are back" if late else "")
        )
