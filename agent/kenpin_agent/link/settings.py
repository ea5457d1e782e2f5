"""Where the broker is and how to log in to it. Agents and controller read the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from kenpin_wire.errors import LinkError
from kenpin_wire.topics import DEFAULT_PREFIX

Protocol = Literal["auto", "5", "3.1.1"]


class TlsSettings(BaseModel):
    """Encryption. Without `ca_file` the system's certificate authorities are trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both or neither")
        return self


class BrokerSettings(BaseModel):
    """A broker and a login.

    Attributes:
        password: Never shown; `password_file` is read at each connection, so that it can be changed there.
        client_id: MQTT's name for this connection; None lets each program choose its own.
        prefix: What stands before the site in every topic.
        protocol: "auto" speaks MQTT 5, and 3.1.1 to a broker that refuses 5.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: Annotated[str, Field(min_length=1)] | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    tls: TlsSettings | None = None
    prefix: str = DEFAULT_PREFIX
    protocol: Protocol = "auto"

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file exclude each other: give one")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs a username")
        return self

    @property
    def endpoint(self) -> str:
        """`host:port`, for people."""
        return f"{self.host}:{self.port}"

    def read_password(self) -> str | None:
        """The password, from the settings or its file (without a line break at its end).

        Raises:
            LinkError: if the file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = (
                error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
            )
            raise LinkError(
                f"the broker's password file cannot be read: {reason}",
                where=str(self.password_file),
                remedy="Write the password into it and let this program's user read it.",
            ) from None
