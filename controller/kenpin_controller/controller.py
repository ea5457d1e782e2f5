"""The controller without its web side: everything that runs between the broker and the store."""

from __future__ import annotations

import fcntl
import logging
import secrets
import threading
import time
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from kenpin_agent.files import write_atomically
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.blobs import BlobServer
from kenpin_controller.commands import Commands
from kenpin_controller.errors import StoreError
from kenpin_controller.fleet import Fleet
from kenpin_controller.ingest import Ingest
from kenpin_controller.metadata_server import MetadataServer
from kenpin_controller.outgoing import Outgoing
from kenpin_controller.publisher import Publisher
from kenpin_controller.restore import restore
from kenpin_controller.rollouts.runner import Runner
from kenpin_controller.site import Site
from kenpin_controller.store import Store
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.keeper import Keeper
from kenpin_controller.trust.passphrase import from_environment
from kenpin_controller.writer import BATCH_SIZE
from kenpin_wire.errors import ConfigError
from kenpin_wire.topics import TopicTree

SESSION_S = 7 * 86_400
"""How long the broker keeps what agents say while the controller is away: as long as their outboxes do."""
RECEIVE_MAXIMUM = 2 * BATCH_SIZE
"""One batch comes while another is being committed. With the usual 20, a broker that keeps to them waits for
the disk after every 20 (measured: 1,400 events stored a second, and 10,000 with this)."""
HOUSEKEEPING_S = 60.0
_DAY_S = 86_400.0

log = logging.getLogger(__name__)


class Settings(BaseModel):
    """What the controller is started with.

    Attributes:
        data: Folder of the database and the releases.
        url: A database elsewhere, in SQLAlchemy's form.
        picture_days, picture_bytes: How long, and how many, pictures are kept.
        score_days: How long camera-seconds are kept. Events are kept for good.
    """

    model_config = ConfigDict(frozen=True)

    broker: BrokerSettings = BrokerSettings()
    data: Path = Path("kenpin-data")
    url: str | None = None
    picture_days: float = Field(30.0, gt=0)
    picture_bytes: int = Field(4 << 30, gt=0)
    score_days: float = Field(30.0, gt=0)


class Controller:
    """Store, live picture, MQTT session and what joins them. Opened by the constructor, run by `start`.

    Raises:
        ConfigError: if the data folder, the database URL or the topic prefix cannot be used, or another
            controller uses the folder.
        StoreError: if the database cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        tree = TopicTree(settings.broker.prefix)
        self._lock = _lock(settings.data)
        self.store = Store.open(settings.data, settings.url)
        self.fleet = Fleet()
        restore(self.fleet, self.store.readings, time.time())
        self.session = MqttSession(
            settings.broker,
            client_id=f"kenpin-controller-{_instance(settings.data)}",
            session_expiry_s=SESSION_S,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        trust = TrustDesk(settings.data, passphrase=from_environment)
        publisher = Publisher(self.session, tree, trust.seal)
        commands = Commands()
        self._outgoing = Outgoing(self.store.intents, publisher)
        self._runner = Runner(self.store, self.fleet, self._outgoing)
        self.site = Site(
            self.store,
            self.fleet,
            publisher,
            commands,
            trust,
            outgoing=self._outgoing,
            runner=self._runner,
        )
        self.trust = Keeper(trust, self._outgoing.publish_all)
        self.trust.begin()
        self._blobs = BlobServer(self.store.releases, publisher)
        self._metadata = MetadataServer(trust.repository, publisher)
        self.ingest = Ingest(
            self.session,
            tree,
            self.store.readings,
            self.fleet,
            publisher,
            on_block_request=self._blobs.ask,
            on_metadata_request=self._metadata.ask,
            on_reply=commands.take_reply,
            on_news=self._runner.heard,
        )
        self._stopping = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin to connect and to take in, and return at once. A broker that is away is tried on."""
        self.session.on_connected = self._heal
        self.ingest.start()
        self._blobs.start()
        self._metadata.start()
        self._housekeeper.start()
        self._runner.start()
        self.session.start()

    def stop(self) -> None:
        """Commit what came, say goodbye, and close the store."""
        self._stopping.set()
        self._runner.stop()
        self._blobs.stop()
        self._metadata.stop()
        self.ingest.stop()
        self.session.stop()
        self.store.close()
        self._lock.close()

    def _heal(self, _session_present: bool) -> None:
        """Desired state goes out again; on a thread, for the session's own must not wait for the store."""
        threading.Thread(target=self._outgoing.publish_all, name="heal", daemon=True).start()

    def _keep_house(self) -> None:
        while not self._stopping.wait(HOUSEKEEPING_S):
            self.trust.keep()
            now_s = time.time()
            try:
                self.store.readings.forget(
                    pictures_before_s=now_s - self.settings.picture_days * _DAY_S,
                    seconds_before_s=now_s - self.settings.score_days * _DAY_S,
                    picture_bytes=self.settings.picture_bytes,
                )
            except StoreError as error:
                log.warning("old pictures stay for now: %s", error)


def _lock(data: Path) -> IO[bytes]:
    """Hold the data folder for this process alone; the operating system lets go of it even after kill -9.

    Two controllers on one folder would push each other off the broker for ever.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = (data / "lock").open("ab")
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be used ({error.strerror})",
            where=str(data),
            remedy="Give --data a folder that this user can write to.",
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(
            "another controller uses this folder",
            where=str(data),
            remedy="Stop that one, or give this one another --data.",
        ) from None
    return file


def _instance(data: Path) -> str:
    """A name for this data folder, kept in it: the broker knows our session by it, after a restart too."""
    file = data / "instance"
    try:
        if not file.exists():
            write_atomically(file, secrets.token_hex(4).encode())
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be used ({error})", where=str(file)) from None
