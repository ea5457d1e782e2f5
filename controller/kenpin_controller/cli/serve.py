"""`kenpin serve`: the controller, until it is told to stop."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError

from kenpin_agent.link.settings import BrokerSettings, TlsSettings
from kenpin_wire.errors import ConfigError, os_words
from kenpin_wire.faults import first_fault
from kenpin_wire.topics import DEFAULT_PREFIX

_LOCAL = ("127.0.0.1", "localhost", "::1")
_CA_REMEDY = "Give the certificate of the authority that signed the broker's, as PEM."


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("serve")(serve)


def serve(
    *,
    broker: Annotated[
        str, typer.Option(envvar="KENPIN_BROKER", help="The MQTT broker, HOST or HOST:PORT.")
    ] = "127.0.0.1:1883",
    broker_user: Annotated[
        str | None, typer.Option(envvar="KENPIN_BROKER_USER", help="User name at the broker.")
    ] = None,
    broker_password: Annotated[
        str | None,
        typer.Option(envvar="KENPIN_BROKER_PASSWORD", help="Its password; better given by the variable."),
    ] = None,
    broker_ca: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) of the broker's authority; turns TLS on.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="What stands before the site in every topic.")] = DEFAULT_PREFIX,
    data: Annotated[Path, typer.Option(envvar="KENPIN_DATA", help="Folder for all that is kept.")] = Path(
        "kenpin-data"
    ),
    host: Annotated[
        str, typer.Option(help="Address to serve pages and REST at; 0.0.0.0 for other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="And the port; 0 for any.")] = 8080,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="KENPIN_URL", help="Another database than the folder's kenpin.db: sqlite:////PATH."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KENPIN_TOKEN",
            help="A word of your own that browsers and programs must give; needed for --host 0.0.0.0.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the controller: ingest, store, REST and pages."""
    if host not in _LOCAL and not token:
        raise ConfigError(
            "anyone on the network could change your lines",
            where=f"--host {host}",
            remedy="Give a --token (or KENPIN_TOKEN), or serve at 127.0.0.1.",
        )
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    for library in ("alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
    settings = _broker_settings(broker, broker_user, broker_password, broker_ca, prefix)
    with _bind(host, port) as listener:
        _run(settings, data, url, token, listener)


def _run(
    broker: BrokerSettings, data: Path, url: str | None, token: str | None, listener: socket.socket
) -> None:
    import uvicorn

    from kenpin_controller.app import build_app
    from kenpin_controller.controller import Controller, Settings

    controller = Controller(Settings(broker=broker, data=data, url=url))
    app = build_app(controller, token=token)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(
        f"Kenpin is at http://{shown}:{port}, its broker at {broker.endpoint}, its data in {data}", flush=True
    )
    if controller.trust.first_day:
        print(ALL_HERE.format(folder=data / "keys"), flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=3)
    # uvicorn stops on a signal and then raises it again; being told to stop is no failure.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


ALL_HERE = (
    "The site's keys are made, all of them in {folder}: devices that pin `kenpin keys root` install only what this "
    "controller signed. Whoever takes this machine over can sign too; `kenpin keys init --offline`, before the "
    "first start, keeps two of them elsewhere. Keep a copy of that folder: without it devices must be set up anew."
)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedy = "Give another --port." if error.errno == errno.EADDRINUSE else "Check --host and --port."
        raise ConfigError(
            f"cannot be served at ({os_words(error)})", where=f"{host}:{port}", remedy=remedy
        ) from None


def _broker_settings(
    broker: str, user: str | None, password: str | None, ca: Path | None, prefix: str
) -> BrokerSettings:
    if ca is not None and not ca.is_file():
        raise ConfigError("no such file", where=f"--broker-ca {ca}", remedy=_CA_REMEDY)
    host, _, port = broker.rpartition(":") if ":" in broker else (broker, "", "8883" if ca else "1883")
    try:
        return BrokerSettings.model_validate(
            {
                "host": host.strip("[]"),
                "port": port,
                "username": user,
                "password": SecretStr(password) if password is not None else None,
                "tls": TlsSettings(ca_file=ca) if ca is not None else None,
                "prefix": prefix,
            }
        )
    except ValidationError as error:
        where, what = first_fault(error)
        raise ConfigError(
            f"{where or 'broker'}: {what}", where=f"--broker {broker!r}", remedy="Give HOST or HOST:PORT."
        ) from None
