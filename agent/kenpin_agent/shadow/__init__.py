"""A candidate beside the release that runs, on the camera's own live frames.

`evaluation`, `statistics`, `gallery` and `budget` are pure; `beside` is what the inspection loop holds.
"""
