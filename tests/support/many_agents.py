"""Several agents in one process: `python many_agents.py CONFIG ...`, until it is terminated.

Each is the whole program as `kenpin-agent run` puts it together, with its own folder, link, camera and threads; only
the interpreter and its libraries are there once, since twelve of them would not fit on a small machine. Two things
differ for it: memory is that of all together, and a warning of one is sent by all.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from kenpin_agent.threads import one_thread_a_library


def main(files: list[str]) -> None:
    """Run one agent a configuration file."""
    one_thread_a_library()
    from kenpin_agent.assembly import run_agent
    from kenpin_agent.config import load_config

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    configs = [load_config(Path(file)) for file in files]
    agents = [
        threading.Thread(target=run_agent, args=(config, stop), name=config.device) for config in configs
    ]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()


if __name__ == "__main__":
    main(sys.argv[1:])
