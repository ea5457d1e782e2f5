"""What runs on a Pi: capture, encode, score, judge, (decode), publish."""
