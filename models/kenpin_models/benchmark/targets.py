"""What Kenpin's detection was asked to show, held against what was measured: passed, not passed, or not measured."""

from __future__ import annotations

from collections.abc import Iterable

from kenpin_models.benchmark.parts import FALSE_REJECTS, SETS
from kenpin_models.benchmark.rows import DEFAULT, FEW, PUBLISHED
from kenpin_models.benchmark.tables import Document, Line, PartLine, Spread, Target

MAX_RELEASE_BYTES = 5_000_000
POOLED = ("lof", "lof_plain", "knn", "cosine", "mahalanobis")
"""Heads that look at the pooled vector, which is what fine-tuning teaches."""


def all_targets(found: Document) -> list[Target]:
    """In the order of the issue that set them."""
    return [
        *_protocol(found),
        *_parts(found),
        *_int8(found),
        _rejects(found),
        *_costs(found),
        *_decoders(found),
        _sizes(found),
    ]


def _protocol(found: Document) -> Iterable[Target]:
    default, few = _default(found), _default(found, FEW)
    yield _at_least("sneaker/boot: `doc` with `lof`, AUROC", 0.93, _auroc(found.line("doc", "lof")))
    for method, least in (("arcface", 0.96), ("triplet", 0.92)):
        lines = [line for line in found.lines if line.row.method == method and line.row.head in POOLED]
        best = max(lines, key=lambda line: line.auroc.mean, default=None)
        head = f" (`{best.row.head}`)" if best else ""
        yield _at_least(
            f"sneaker/boot: `{method}` with its best pooled head{head}, AUROC", least, _auroc(best)
        )
    for name, line in (("`auto`", default), _best(found)):
        yield _at_least(f"sneaker/boot: {name}, AUROC", 0.98, _auroc(line))
        yield _at_least(f"sneaker/boot: {name}, TPR at 1 % FPR", 0.65, line.tpr if line else None)
    for name, line in (("`auto`", few), _best(found, FEW)):
        yield _at_least(f"sneaker/boot: {name} from {FEW} good pictures, AUROC", 0.965, _auroc(line))


def _best(found: Document, good: int | None = None) -> tuple[str, Line | None]:
    """The best of Kenpin's ways, and what it is called."""
    lines = [
        line
        for line in found.lines
        if not line.row.is_baseline and line.row.good == good and line.row.precision == "float32"
    ]
    best = max(lines, key=lambda line: line.auroc.mean, default=None)
    return (f"best of all (`{best.row.method}` with `{best.row.head}`)" if best else "best of all"), best


def _parts(found: Document) -> Iterable[Target]:
    for name in SETS:
        whole, few = found.part(name, "auto"), found.part(name, "auto", FEW)
        yield _at_least(f"{name}: `auto`, image AUROC", 0.99, _figure(whole, "image_auroc"))
        yield _at_least(
            f"{name}: `auto` from {FEW} good pictures, image AUROC", 0.95, _figure(few, "image_auroc")
        )
    cookie = found.part("cookie", "auto")
    yield _at_least("cookie: `auto`, pixel AUROC", 0.95, _figure(cookie, "pixel_auroc"))


def _int8(found: Document) -> Iterable[Target]:
    pairs = {"sneaker/boot": (_auroc(_default(found)), _auroc(_default(found, precision="int8")))}
    for name in SETS:
        plain, small = found.part(name, "auto"), found.part(name, "auto", precision="int8")
        pairs[name] = (_figure(plain, "image_auroc"), _figure(small, "image_auroc"))
    for name, (before, after) in pairs.items():
        loss = before.mean - after.mean if before and after else None
        yield _at_most(f"{name}: AUROC that int8 costs, `auto`", 0.005, loss)
    times = [
        line.times for line in (_default(found), _default(found, precision="int8")) if line and line.times
    ]
    both = [time.encoder_ms for time in times] if len(times) == 2 else None
    yield Target(
        "int8: the encoder is faster",
        "faster",
        f"{both[1]:.2f} against {both[0]:.2f} ms" if both else "",
        both[1] < both[0] if both else None,
    )


def _rejects(found: Document) -> Target:
    rates = [line.rejected.mean for line in found.rejects]
    mean = sum(rates) / len(rates) if rates else None
    return Target(
        f"good pictures never used that `--false-rejects {FALSE_REJECTS:g}` rejects, mean of {len(rates)} sets",
        "0.3 % to 2 %",
        f"{mean:.2%}, from {min(rates):.2%} to {max(rates):.2%}" if mean is not None else "",
        0.003 <= mean <= 0.02 if mean is not None else None,
    )


def _costs(found: Document) -> Iterable[Target]:
    frozen = [line for line in found.lines if line.row.method == "frozen" and line.row.precision == "float32"]
    for heads, most in (
        ((*POOLED, "padim", "padim_broad", "padim_diagonal"), 1.15),
        (("patch_knn", "fusion"), 1.6),
    ):
        ratios = {line.row.head: line.times.ratio for line in frozen if line.row.head in heads and line.times}
        worst = max(ratios, key=lambda head: ratios[head] or 0.0, default=None)
        name = f" (worst: `{worst}`)" if worst else ""
        what = f"frame → verdict ÷ the encoder's invoke with {', '.join(f'`{head}`' for head in heads)}{name}"
        yield _at_most(what, most, ratios[worst] if worst else None)
    versus, default, published = found.versus, _default(found), found.line(PUBLISHED, "lof")
    what = "frames a second ÷ the published design's"
    yield _at_least(f"{what}, as published: with its decoder", 6.0, versus.drawn_ratio if versus else None)
    yield _at_least(f"{what}, without heatmaps", 6.0, versus.ratio if versus else None)
    better = default.auroc.mean > published.auroc.mean if default and published else None
    yield Target(
        "AUROC higher than the published design's",
        "higher",
        f"{default.auroc.mean:.3f} against {published.auroc.mean:.3f}" if default and published else "",
        better,
    )
    share = versus.kenpin_drawn_ms / versus.kenpin_ms - 1 if versus else None
    yield _at_most("what the heatmap of the head's patches adds to a frame, ÷ the frame", 0.2, share)


def _decoders(found: Document) -> Iterable[Target]:
    slim, standard = found.drawer("slim"), found.drawer("standard")
    both = (slim, standard) if slim and standard else None
    yield _at_most("`slim`: ms ÷ the encoder's invoke", 1.0, slim.ms / slim.encoder_ms if slim else None)
    yield Target(
        "`slim`: cookie pixel AUROC above `standard`'s",
        "higher",
        f"{both[0].pixel_auroc.mean:.3f} against {both[1].pixel_auroc.mean:.3f}" if both else "",
        both[0].pixel_auroc.mean > both[1].pixel_auroc.mean if both else None,
    )
    share = (both[0].size_bytes or 0) / (both[1].size_bytes or 1) if both else None
    yield _at_most("`slim`: size ÷ `standard`'s", 0.02, share)


def _sizes(found: Document) -> Target:
    largest = max((line for line in found.lines if not line.row.is_baseline), key=_size, default=None)
    megabytes = largest.size_bytes / 1e6 if largest else None
    name = f" (largest: `{largest.row.method}`, `{largest.row.head}`)" if largest else ""
    return _at_most(f"megabytes of a release{name}", MAX_RELEASE_BYTES / 1e6, megabytes)


def _default(found: Document, good: int | None = None, precision: str = "float32") -> Line | None:
    return found.line(DEFAULT.method, DEFAULT.head, good, precision)


def _auroc(line: Line | None) -> Spread | None:
    return line.auroc if line else None


def _figure(line: PartLine | None, key: str) -> Spread | None:
    return line.figures[key] if line else None


def _size(line: Line) -> int:
    return line.size_bytes


def _at_least(what: str, least: float, found: Spread | float | None) -> Target:
    value = found.mean if isinstance(found, Spread) else found
    return Target(what, f"≥ {least:g}", _shown(found), value >= least if value is not None else None)


def _at_most(what: str, most: float, found: float | None) -> Target:
    return Target(what, f"≤ {most:g}", _shown(found), found <= most if found is not None else None)


def _shown(found: Spread | float | None) -> str:
    if found is None:
        return ""
    if isinstance(found, Spread):
        return f"{found.mean:.4f} ({found.least:.4f} to {found.greatest:.4f})"
    return f"{found:.3f}"
