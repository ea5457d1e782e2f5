"""What the settings are, from three scopes: the device's own file, the line's wish, the device's wish. Pure.

A wish is state, not a shout: reconciling the same wishes again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kenpin_agent.judge import threshold_for
from kenpin_wire.errors import KenpinError
from kenpin_wire.manifest import Manifest
from kenpin_wire.messages import DesiredConfig, ReportedConfig, Roi, Threshold


@dataclass(frozen=True, slots=True)
class Wishes:
    """The newest desired settings of each scope; kept over restarts."""

    line: DesiredConfig | None = None
    device: DesiredConfig | None = None

    def with_newer(self, wish: DesiredConfig, *, whole_line: bool, anew: bool = False) -> Wishes:
        """These wishes with `wish` in its scope, unless a newer or the same one is there. `anew`: whatever is
        there (`Incoming.anew`)."""
        known = self.line if whole_line else self.device
        if known is not None and wish.rev <= known.rev and not anew:
            return self
        return replace(self, line=wish) if whole_line else replace(self, device=wish)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the inspection loop goes by. `threshold` is None without a release."""

    threshold: float | None = None
    inspection: bool = True
    heatmap_every: int = 0
    roi: Roi | None = None


def reconcile(own: Settings, wishes: Wishes, manifest: Manifest | None) -> tuple[Settings, ReportedConfig]:
    """The settings that follow from all scopes for the release that runs, and the report on them.

    A threshold that belongs to another release is not applied, and the report says so; it takes effect by
    itself once that release runs.
    """
    settings, error = own, ""
    chosen: Threshold | None = None
    for wish in (wishes.line, wishes.device):
        if wish is None:
            continue
        settings = replace(
            settings,
            inspection=settings.inspection if wish.inspection is None else wish.inspection,
            heatmap_every=settings.heatmap_every if wish.heatmap_every is None else wish.heatmap_every,
            roi=settings.roi if wish.roi is None else wish.roi,
        )
        chosen = wish.threshold or chosen
    label = str(manifest.release) if manifest else ""
    if manifest is not None:
        threshold = threshold_for(manifest.calibration, None)
        if chosen is not None and chosen.release != label:
            error = f"the threshold belongs to {chosen.release}, but {label} runs"
        elif chosen is not None:
            try:
                threshold = threshold_for(manifest.calibration, chosen)
            except KenpinError as refusal:
                error = str(refusal)
        settings = replace(settings, threshold=threshold)
    elif chosen is not None:
        error = f"the threshold belongs to {chosen.release}, but no release runs yet"
    report = ReportedConfig(
        rev=wishes.device.rev if wishes.device else 0,
        line_rev=wishes.line.rev if wishes.line else 0,
        applied=not error,
        error=error,
        release=label,
        threshold=settings.threshold,
        inspection=settings.inspection,
        heatmap_every=settings.heatmap_every,
        roi=settings.roi,
    )
    return settings, report
