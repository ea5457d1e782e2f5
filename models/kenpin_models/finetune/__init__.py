"""Teach an encoder what the part is, against pictures of other things: `doc`, `arcface`, `triplet`.

`tune.fine_tune` is the whole of it. `settings`, `curves` and `reference` need no torch; the rest does, and is
imported by `fine_tune` only once it knows that torch is there.
"""
