"""Calibrate: from what good pictures scored that a head had not seen, to its threshold and its colour scale.

The rule is the agent's own (`judge.false_reject_threshold`): a promise from 99 good pictures on, an estimate with
fewer, and the release's note says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kenpin_agent.heads import Head
from kenpin_agent.judge import FEW, false_reject_threshold
from kenpin_models.rehearse import Rehearsed, Seen, patch_limit
from kenpin_wire.manifest import Calibration, Heatmap


def calibrate(
    head: Head, held_out: Sequence[Seen], rehearsed: Rehearsed | None, false_rejects: float
) -> tuple[Calibration, Heatmap]:
    """Set the threshold and the heatmap's scale.

    Held-out good pictures count as they are. Where they are few, the rehearsal's scores join them: each comes
    from a head fitted on a fifth less, and so is a little higher than it should be, which errs towards letting a
    good part pass.

    Args:
        rehearsed: None if the rehearsal's scores cannot join: an encoder that was taught has seen the pictures that
            its head had not.
    """
    found = [head.assess(seen.features) for seen in held_out]
    patches = [assessment.patch_scores() for assessment in found]
    scores = [assessment.score for assessment in found]
    limits = [patch_limit(of_one) for of_one in patches]
    normals = [float(np.median(of_one)) for of_one in patches]
    method = "held-out good pictures"
    if rehearsed is not None and len(scores) < FEW:
        scores += rehearsed.good
        limits += rehearsed.limits
        normals += rehearsed.normals
        method = f"{len(found)} held-out good pictures and {len(rehearsed.good)} out-of-fold"
    calibration = Calibration(
        scores=sorted(scores),
        false_rejects=false_rejects,
        threshold=false_reject_threshold(scores, false_rejects),
        method=method,
        note=honest_note(len(scores), false_rejects),
    )
    normal = float(np.median(normals))
    limit = max(false_reject_threshold(limits, false_rejects), normal + 1e-6)
    return calibration, Heatmap(normal=normal, limit=limit)


def honest_note(n: int, false_rejects: float) -> str:
    """What a person must know of a threshold from n good pictures; empty if it keeps its promise."""
    needed = max(FEW, math.ceil(1 / false_rejects - 1 - 1e-9))
    if n >= needed:
        return ""
    return (
        f"{n} good pictures cannot promise {false_rejects:.2%} false rejects; the threshold is an estimate. "
        f"{needed} make it a promise."
    )
