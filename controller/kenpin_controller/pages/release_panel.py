"""The release of a camera: what runs, what is on its way, and sending another."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import events, ui

from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import MAX_RELEASE_BYTES, Operations, ReleaseRecord
from kenpin_controller.pages import words
from kenpin_controller.pages.deployment_panel import DeploymentPanel
from kenpin_controller.pages.parts import WHO, attempt, div, link, mark, release_url, text
from kenpin_controller.views import DeviceView

_RELEASES_EVERY_S = 5.0


class ReleasePanel:
    def __init__(self, name: str, operations: Operations, fleet: Fleet, clock: Callable[[], float]) -> None:
        self._name, self._operations, self._fleet = name, operations, fleet
        self._line = ""
        self._releases: dict[str, ReleaseRecord] = {}
        with div("k-panel is-release", "release-panel"):
            with div("k-panel-head"):
                text("Release", "k-h2")
                with link("/releases", "k-quiet") as self._installed_link:
                    self._installed = text("", "", "release-installed")
            self._deployment = DeploymentPanel(name, operations, clock)
            self._empty = div("", "no-release")
            with self._empty:
                text("No release yet. Make one from pictures of good parts, then upload it:", "k-quiet")
                text("kenpin train GOOD_PICTURES -o NAME.kenpin", "k-code")
            self._push_box = div("k-column").style("gap: 12px")
            with self._push_box:
                self._select = mark(
                    ui.select({}, label="Send a release", on_change=self._show_chosen),
                    "release-select",
                ).props("outlined dense options-dense")
                self._scope = mark(
                    ui.toggle({"camera": "This camera", "line": "The whole line"}, value="camera"),
                    "release-scope",
                ).props("unelevated no-caps")
            with div("k-row"):
                self._push = mark(
                    ui.button("Send", color=None, icon="send", on_click=self._send), "release-push"
                )
                self._push.props("flat no-caps").classes("k-button is-main")
                self._look = link("/releases", "k-link", "release-look")
                with self._look:
                    text("Look at it first")
                upload = ui.upload(
                    auto_upload=True,
                    max_file_size=MAX_RELEASE_BYTES,
                    on_upload=self._uploaded,
                    on_rejected=lambda: ui.notify("That file is too large to be a release.", type="negative"),
                ).classes("k-hidden-upload")
                upload.props["accept"] = ".kenpin"
                mark(upload, "release-upload")
                pick = mark(ui.button("Upload a release", color=None, icon="upload_file"), "release-pick")
                pick.props("flat no-caps").classes("k-button")
                pick.on("click", js_handler=f"() => getElement({upload.id}).pickFiles()")
        ui.timer(_RELEASES_EVERY_S, self._load)

    def update(self, device: DeviceView) -> None:
        """Show what runs and how the deployment stands."""
        self._line = device.address.line
        self._show_installed(device.installed)
        self._deployment.update(device)

    def _show_installed(self, label: str) -> None:
        said = f"runs {label}" if label else "none yet"
        if said != self._installed.text:
            self._installed.set_text(said)
            self._installed_link.props["href"] = release_url(label)

    def _show_chosen(self) -> None:
        record = self._releases.get(self._select.value or "")
        self._look.set_visibility(record is not None)
        self._look.props["href"] = release_url(str(record.release) if record else "")

    async def _load(self) -> None:
        """Releases may be added on the command line, too."""
        records = await attempt(self._operations.releases, quiet=True)
        if records is None:
            return
        known = {record.sha256: record for record in sorted(records, key=lambda r: -r.uploaded_s)}
        self._empty.set_visibility(not known)
        self._push_box.set_visibility(bool(known))
        self._push.set_visibility(bool(known))
        if known.keys() != self._releases.keys():
            self._releases = known
            options = {sha256: _release_text(record) for sha256, record in known.items()}
            value = self._select.value if self._select.value in known else next(iter(known), None)
            self._select.set_options(options, value=value)

    async def _send(self) -> None:
        record = self._releases.get(self._select.value or "")
        if record is None:
            ui.notify("Choose a release first.", type="warning")
            return
        whole_line = self._scope.value == "line"
        line, devices = (self._line, None) if whole_line else (None, [self._name])
        rollout = await attempt(
            lambda: self._operations.start_rollout(record.release, devices=devices, line=line, who=WHO)
        )
        if rollout is not None:
            to = words.count(len(rollout.devices), "camera")
            ui.notify(f"{record.release} is on its way to {to}.", type="positive")

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        record = await attempt(lambda: self._operations.add_release(data, who=WHO))
        if isinstance(event.sender, ui.upload):
            event.sender.reset()
        if record is not None:
            ui.notify(f"{record.release} is here and can be sent.", type="positive")
            await self._load()
            self._select.set_value(record.sha256)


def _release_text(record: ReleaseRecord) -> str:
    head = record.summary.get("head")
    parts = [str(record.release), str(head) if head else "", words.size_text(record.size)]
    return " · ".join(part for part in parts if part)
