"""How a release gets onto this device, and how the device always has one to run.

Pure: `events` and `state`, the `table` with its `rules`, `machine` that reads it, `fetch` that puts blocks in order,
`standing` that says how it stands. Around them: `slots` keeps what must survive a power cut, `download` and `loader`
get a file and make a release of it, `switch` hands it to the inspection loop, and `deployer` carries out.
"""
