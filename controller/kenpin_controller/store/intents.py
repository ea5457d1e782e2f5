"""What people asked of single devices: desired settings and releases with their revisions.

Every change and its audit line are one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlalchemy import Engine, select

from kenpin_controller.store import schema as t
from kenpin_controller.store.audit import Deed, writing
from kenpin_controller.store.desired import Desire, load_config, next_rev, save_desire
from kenpin_wire.messages import DesiredConfig, DesiredRelease
from kenpin_wire.topics import Address, Channel


class Intents:
    """Desired state of devices. Any number of threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def change_config(
        self,
        address: Address,
        change: Callable[[DesiredConfig], DesiredConfig],
        *,
        reported_rev: int,
        deed: Deed,
    ) -> DesiredConfig:
        """Change a device's desired settings, or a line's; what `change` leaves alone stays as it was.

        Args:
            reported_rev: The newest settings revision that the device has reported.

        Returns:
            The whole desired state, with its new revision.

        Raises:
            StoreError: if it cannot be stored; nothing has changed then.
        """
        with writing(self._writer, deed) as connection:
            config = load_config(connection, address) or DesiredConfig(rev=0)
            rev = next_rev(config.rev, reported_rev, address)
            config = DesiredConfig.model_validate(dict(change(config)) | {"rev": rev})
            save_desire(connection, Desire(address, Channel.SET_CONFIG, config), rev)
        return config

    def desired(self) -> list[Desire]:
        """All desired state, as it must stand on the broker."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(t.desired)).all()
        return [
            Desire(
                Address(row.site, row.line, row.device),
                Channel(row.channel),
                _MODELS[Channel(row.channel)].model_validate_json(json.dumps(row.body)),
            )
            for row in rows
        ]

    def desired_config(self, address: Address) -> DesiredConfig | None:
        """A device's desired settings, or None if nobody ever set any."""
        with self._engine.connect() as connection:
            return load_config(connection, address)

    def note(self, deed: Deed) -> None:
        """Write down a deed that changes nothing here, such as a command.

        Raises:
            StoreError: if it cannot be stored.
        """
        with writing(self._writer, deed):
            pass


_MODELS: dict[Channel, type[DesiredConfig] | type[DesiredRelease]] = {
    Channel.SET_CONFIG: DesiredConfig,
    Channel.SET_RELEASE: DesiredRelease,
}
