"""What runs on a Pi: capture, encode, score, judge, (decode), publish."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kenpin")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"
