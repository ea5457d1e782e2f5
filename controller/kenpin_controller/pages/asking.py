"""Asking a person for a reason before something is done that others will ask about."""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import context, ui

from kenpin_controller.pages.parts import button, div, mark, text


@dataclass(frozen=True, slots=True)
class Why:
    """What a person said. `option` is the box that was offered beside the reason."""

    reason: str
    option: bool


async def ask_why(
    title: str, consequence: str, verb: str, *, option: str = "", chosen: bool = False
) -> Why | None:
    """Ask why, in a dialog that says what will happen. None if the person thought better of it.

    Args:
        verb: Stands on the button that does it; it can be pressed once there is a reason.
        option: A box to tick, beside the reason; none if empty. `chosen` is how it stands at first.
    """
    with context.client, ui.dialog() as dialog, div("k-zoom k-ask", "ask-why"):
        text(title, "k-ask-title")
        text(consequence, "k-quiet")
        reason = mark(ui.input("Why? It stands in the timeline.").props("outlined autofocus"), "why-reason")
        box = mark(ui.checkbox(option, value=chosen), "why-option")
        box.set_visibility(bool(option))

        def answer() -> None:
            if said := (reason.value or "").strip():
                dialog.submit(Why(said[:500], bool(option) and box.value))

        reason.on("keydown.enter", answer)
        with div("k-row k-ask-foot"):
            button("Leave it", dialog.close, "why-leave")
            do = button(verb, answer, "why-do", main=True)
            do.bind_enabled_from(reason, "value", backward=lambda value: bool((value or "").strip()))
    said = await dialog
    dialog.delete()
    return said if isinstance(said, Why) else None
