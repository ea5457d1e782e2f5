"""Releases and thresholds on their way to many devices: waves, gates between them, and the way back.

`plan` says what is wanted and `views` how it fares; `machine` and `gates` decide, without a clock and without
I/O; `runner` stores what they decided and only then has it published.
"""
