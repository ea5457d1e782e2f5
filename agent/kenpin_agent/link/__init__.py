"""The way to the broker: an MQTT session, an outbox on disk, and the link made of both.

`session` and `settings` know nothing of Kenpin's channels; the controller uses them too.
"""
