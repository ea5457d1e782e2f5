"""Fakes of the agent's seams, for tests of Kenpin and of what is built on it. Each implements the real seam.

`link` and `heat` have modules of their own here, so that a test imports only what it needs.
"""

from kenpin_agent.testing.cameras import FakeCamera, picture
from kenpin_agent.testing.clock import FakeClock

__all__ = ["FakeCamera", "FakeClock", "picture"]
