"""The page on deployments is what the table gives."""

from __future__ import annotations

from kenpin_agent.deployment.drawing import page
from kenpin_agent.deployment.state import RESTING, Effect
from kenpin_agent.deployment.table import TABLE
from support import ROOT


def test_the_page_is_what_the_table_gives() -> None:
    written = (ROOT / "docs" / "deployment.md").read_text()
    assert written == page(), "python -m kenpin_agent.deployment.drawing > docs/deployment.md"


def test_the_page_tells_every_row_and_every_effect() -> None:
    lines = page().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| event")]
    told = {row for row in TABLE if row.source not in RESTING or row.source is RESTING[0]}
    everywhere = {row for row in told if row.event.__name__ == "CommittedLost"}
    assert len(rows) == len(told) - len(everywhere) + 3
    assert all(f"- *{effect.name.lower().replace('_', ' ')}*" in page() for effect in Effect)
