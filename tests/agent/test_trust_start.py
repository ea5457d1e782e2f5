"""What trust costs at start: nothing without a pinned root, and no time with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kenpin_agent.assembly import run_agent
from kenpin_agent.config import load_config
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.paho_link import PahoLink
from kenpin_agent.link.publications import Publication
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.testing import FakeClock
from kenpin_agent.threads import one_thread_environment
from kenpin_agent.trust.trust import Trust, read_root
from kenpin_wire.contract import encode
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import DesiredConfig
from kenpin_wire.topics import Address
from support import wait_until
from support.tuf_site import ControllerKey, TufSite

CONFIG = """
site = "plant"
line = "line-1"
device = "cam-1"
state_dir = "kenpin-state"
[broker]
port = {port}
[camera]
kind = "simulated"
seed = 1
"""

# Starts an agent, and says what was imported before it was connected and after it had taken settings.
RUN = """
import json, logging, sys, threading, time
from pathlib import Path
from kenpin_agent.assembly import run_agent
from kenpin_agent.config import load_config
from kenpin_agent.trust import trust
HEAVY = {"tuf", "securesystemslib", "cryptography", "urllib3"}
heavy = lambda: sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
logging.basicConfig(level=logging.WARNING)
begin, found = trust.Trust._begin, {}
def began(self):
    found.setdefault("at start", heavy())
    begin(self)
trust.Trust._begin = began
stop = threading.Event()
def watch():
    path = Path(sys.argv[1]).parent / "kenpin-state" / "settings.json"
    until_s = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until_s:
        time.sleep(0.02)
    found["settings"] = path.exists()
    found["after settings"] = heavy()
    stop.set()
threading.Thread(target=watch, daemon=True).start()
run_agent(load_config(Path(sys.argv[1])), stop)
print(json.dumps(found))
"""


def start(file: Path) -> tuple[dict[str, object], str]:
    environment = {**os.environ, **one_thread_environment()}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def write_config(folder: Path, port: int, more: str = "") -> Path:
    file = folder / "agent.toml"
    file.write_text(CONFIG.format(port=port) + more)
    return file


def test_without_a_pinned_root_no_library_of_trust_is_imported_and_one_warning_is_given(
    tmp_path, broker, controller
):
    topic = "kenpin/v1/plant/line-1/cam-1/set/config"
    envelope = encode(ControllerKey().seal(topic, DesiredConfig(rev=1)))
    controller(broker.port, []).session.publish(Publication(topic, envelope, qos=1, retain=True))
    found, said = start(write_config(tmp_path, broker.port))
    assert found == {"settings": True, "after settings": []}
    assert said.count("no root is pinned (trust.root)") == 1


def test_with_a_pinned_root_they_are_imported_only_once_the_link_stands(tmp_path, broker, controller):
    site, key = TufSite(), ControllerKey()
    site.name_controller(key)
    (tmp_path / "root.json").write_bytes(site.pinned)
    served = tmp_path / "web"
    served.mkdir()
    for name, data in site.files.items():
        (served / name).write_bytes(data)
    topic = "kenpin/v1/plant/line-1/cam-1/set/config"
    wish = encode(key.seal(topic, DesiredConfig(rev=1)))
    controller(broker.port, []).session.publish(Publication(topic, wish, qos=1, retain=True))
    web = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(served)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert web.stdout is not None
        port = web.stdout.readline().split("port ")[1].split()[0]
        trust = f'[trust]\nroot = "root.json"\nurl = "http://127.0.0.1:{port}"\n'
        found, said = start(write_config(tmp_path, broker.port, trust))
    finally:
        web.kill()
        web.wait()
    assert found["at start"] == []
    assert found["settings"]
    assert {"tuf", "securesystemslib", "cryptography"} <= set(found["after settings"])
    assert "pinned" not in said


class TestConfiguration:
    def test_the_root_lies_beside_the_configuration(self, tmp_path):
        config = load_config(write_config(tmp_path, 1883, '[trust]\nroot = "root.json"\n'))
        assert config.trust.root == tmp_path / "root.json"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('url = "http://site"', "url says where metadata is, and root by what to verify it: give both"),
            ('root = "r"\nurl = "ftp://site"', "trust.url"),
            ('roots = "r"', "Did you mean 'root'"),
        ],
    )
    def test_a_wrong_key_is_named(self, tmp_path, text, said):
        with pytest.raises(ConfigError, match=said):
            load_config(write_config(tmp_path, 1883, f"[trust]\n{text}\n"))

    @pytest.mark.parametrize(
        "content", [None, b"", b"{}", b"[]", b'{"signed": {"_type": "targets"}}', b"\xff"]
    )
    def test_a_root_that_is_none_stops_the_agent_at_start_and_is_named(self, tmp_path, content):
        if content is not None:
            (tmp_path / "root.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"root\.json"):
            read_root(tmp_path / "root.json")
        config = load_config(write_config(tmp_path, 1, '[trust]\nroot = "root.json"\n'))
        with pytest.raises(ConfigError, match=r"root\.json"):
            run_agent(config, threading.Event())


def test_a_flood_of_signed_messages_is_bounded_and_counted(tmp_path, broker, controller, monkeypatch):
    """The worker is held up; what comes meanwhile is kept up to a bound and then refused."""
    trust = Trust(tmp_path / "trust", TufSite().pinned, clock := FakeClock())
    gate = threading.Event()
    monkeypatch.setattr(trust, "_open", lambda _task: gate.wait(20))
    link = PahoLink(
        BrokerSettings(port=broker.port),
        Address("plant", "line-1", "cam-1"),
        Outbox(tmp_path / "o", clock),
        clock,
        verifier=trust,
    )
    link.start()
    wait_until(lambda: link.connected)
    key, topic = ControllerKey(), "kenpin/v1/plant/line-1/cam-1/set/config"
    session = controller(broker.port, []).session
    for rev in range(100):
        session.publish(Publication(topic, encode(key.seal(topic, DesiredConfig(rev=rev))), qos=1))
    wait_until(lambda: link.rejected_messages >= 100 - 64 - 1)
    gate.set()
    link.stop()
