"""An agent stays light: proved in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys

from kenpin_agent.threads import one_thread_environment
from support import ROOT

AGENT = ROOT / "agent" / "kenpin_agent"
TOO_HEAVY = {
    "torch", "litert_torch", "tensorflow", "jax", "sklearn", "scipy", "pandas", "matplotlib", "PIL",
    "fastapi", "starlette", "uvicorn", "nicegui", "sqlalchemy", "amqtt", "flask", "django", "typer", "rich",
    "kenpin_models", "kenpin_controller",
}  # fmt: skip

IMPORT_ALL = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
tops = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"tops": tops, "threads": len(os.listdir("/proc/self/task"))}))
"""


def modules() -> list[str]:
    files = (path.relative_to(AGENT.parent).with_suffix("") for path in AGENT.rglob("*.py"))
    names = sorted(".".join(file.parts).removesuffix(".__init__") for file in files)
    return [name for name in names if not name.endswith("__main__")]


def test_no_module_of_the_agent_brings_a_heavy_one_along() -> None:
    names = modules()
    assert "kenpin_agent.inspect" in names
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names],
        capture_output=True,
        text=True,
        env=one_thread_environment(),
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not TOO_HEAVY & set(found["tops"])
    assert found["threads"] == 1  # numpy and OpenCV start none of their own


def test_the_package_itself_imports_nothing_heavy_so_that_threads_can_be_set_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, "kenpin_agent", "kenpin_agent.threads", "kenpin_agent.cli"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not {"numpy", "cv2", "ai_edge_litert"} & set(json.loads(done.stdout)["tops"])
