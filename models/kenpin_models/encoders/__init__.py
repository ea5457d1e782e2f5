"""Encoders of one's own: other networks, other cuts, other weights, taught on, in int8, for a phone.

The frozen encoder that comes with the package needs none of this. `plan` says which network is meant and
`resolve` turns a name into a file; `networks`, `weights`, `build` and `export` need torch, `quantize` needs
ai-edge-quantizer, and each says so in one line where it is missing.
"""
