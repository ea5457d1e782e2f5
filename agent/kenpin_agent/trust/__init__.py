"""Whom a device believes: signed messages, and releases that the site's TUF repository names.

Only `envelope` (cryptography) and `repository` (tuf) bring their libraries along; both are imported late, by
`trust`, so that a device without a pinned root never pays for them and one with it starts as fast.
"""
