"""Who may say what to a device: keys, the TUF repository that they sign, and the envelopes of desired messages.

`Site` and the command line use `kenpin_controller.trust.desk.TrustDesk`; the rest is what it is made of.
"""
