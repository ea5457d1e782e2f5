"""What agents and controllers say to each other: topics, messages, the release manifest.

No I/O happens here, and nothing but pydantic and numpy is needed.
"""
