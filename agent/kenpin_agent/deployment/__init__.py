"""How a release gets onto this device, and how the device always has one to run.

`machine` decides (pure), `fetch` puts blocks in order (pure), `slots` keeps what must survive a power
cut, and `deployer` carries out.
"""
