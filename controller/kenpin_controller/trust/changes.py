"""What may happen to a site's metadata, as one change each. Pure: keys and books in, a `Change` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Targets

from kenpin_controller.errors import ConflictError
from kenpin_controller.trust.keys import PrivateKey
from kenpin_controller.trust.metadata import (
    CONTROLLER_FILE,
    POINTING,
    Books,
    Named,
    controller_json,
    parse,
    sign,
    successor,
    with_key,
    with_targets,
)
from kenpin_controller.trust.repository import Change, following
from kenpin_wire.errors import ConfigError

Held = Callable[[str], Named | None]
"""What the site holds under a target's name."""


def renewed(books: Books, keys: Mapping[str, PrivateKey], *, now: datetime) -> Change | None:
    """Every role that is due and whose key is among `keys` with a later end; None if there is nothing to do."""
    due = {role for role in books.due(now) if keys.keys() >= {role, *POINTING[role]}}
    if not due:
        return None
    after = books
    if "root" in due:
        after = replace(after, root=sign(successor(books.root.signed, now=now), [keys["root"].signer]))
        due.remove("root")
    if due:
        targets = (
            sign(successor(books.targets.signed, now=now), [keys["targets"].signer])
            if "targets" in due
            else None
        )
        after = following(after, _signers(keys), now=now, roles=due, targets=targets)
    return Change(after)


def naming(books: Books, named: Iterable[Named], keys: Mapping[str, PrivateKey], *, now: datetime) -> Change:
    """Targets that name these files too, signed here. Needs the keys of targets, snapshot and timestamp."""
    targets = sign(with_targets(books.targets.signed, named, now=now), [keys["targets"].signer])
    return Change(following(books, _signers(keys), now=now, targets=targets))


def naming_controller(
    books: Books, controller: PrivateKey, keys: Mapping[str, PrivateKey], *, now: datetime
) -> Change:
    """Targets that name this controller's key, and no other any more."""
    content = controller_json([controller.public])
    change = naming(books, [Named.of(CONTROLLER_FILE, content)], keys, now=now)
    return replace(change, controller=content)


def accepted(
    books: Books,
    uploaded: bytes,
    held: Held,
    keys: Mapping[str, PrivateKey],
    *,
    now: datetime,
) -> Change:
    """Targets metadata that was signed elsewhere, with a snapshot and a timestamp of ours.

    Args:
        held: What the site holds: metadata may only name what devices can be given.
        keys: Of snapshot and timestamp.

    Raises:
        ConfigError: if it is no targets metadata, is not signed as root asks, has ended, or names what the site does
            not hold.
        ConflictError: if it does not follow on the version in force.
    """
    targets = parse(uploaded, Targets, "targets.json")
    try:
        books.root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
    except RepositoryError:
        raise ConfigError(
            "it is not signed with this site's targets key",
            where="targets.json",
            remedy="`kenpin keys status` names the key.",
        ) from None
    if targets.signed.is_expired(now):
        raise ConfigError("it has ended already", where="targets.json", remedy="Sign again; check the clock.")
    after = Change(following(books, _signers(keys), now=now, targets=targets))
    before = books.named()
    for name, file in after.books.named().items():
        if file not in (before.get(name), held(name)):
            raise ConfigError(
                f"it names {name} with sha256 {file.sha256[:12]}…, which is not here",
                where="targets.json",
                remedy="Upload that file first: `kenpin release publish FILE` does both.",
            )
    if CONTROLLER_FILE not in after.books.named():
        raise ConfigError(f"it does not name {CONTROLLER_FILE}", where="targets.json")
    return after


def signed_elsewhere(
    base: Metadata[Targets], named: Iterable[Named], key: PrivateKey, *, now: datetime
) -> Metadata[Targets]:
    """The targets after `base`, to be signed far from the controller.

    Raises:
        ConfigError: if `base` was not signed with this key: whoever holds the controller could otherwise have
            releases of their own signed along.
    """
    public = key.signer.public_key
    try:
        public.verify_signature(base.signatures[public.keyid], base.signed_bytes)
    except (KeyError, UnverifiedSignatureError):
        raise ConfigError(
            "the targets metadata to go on from was not signed with this key",
            where="targets.json",
            remedy="Take a fresh copy of the controller's folder `tuf`, and the key that `kenpin keys status` names.",
        ) from None
    return sign(with_targets(base.signed, named, now=now), [key.signer])


def rotated(
    books: Books,
    role: str,
    new: PrivateKey,
    keys: Mapping[str, PrivateKey],
    *,
    now: datetime,
) -> Change:
    """Root that gives a role a new key; what that role says is signed with it, and with the old one where that is at
    hand, so that devices on either side of the change can refresh.

    Args:
        keys: Root's, the role's own unless it is lost, and those of all that points to it.
    """
    root = sign(
        with_key(books.root.signed, role, new.signer.public_key, now=now),
        [keys["root"].signer] + ([new.signer] if role == "root" else []),
    )
    after = books
    if role != "root":
        signers = _signers(keys) | {role: [key.signer for key in (keys.get(role), new) if key is not None]}
        targets = None
        if role == "targets":
            targets = sign(successor(books.targets.signed, now=now), signers["targets"])
        after = following(books, signers, now=now, roles=(role,), targets=targets)
    return Change(replace(after, root=root), root_last=role in keys)


def is_named(books: Books, file: Named) -> bool:
    """Whether targets names this very file.

    Raises:
        ConflictError: if it names another one so.
    """
    known = books.named().get(file.name)
    if known is not None and known != file:
        raise ConflictError(
            "another file is signed under this name",
            where=file.name,
            remedy="Give the release another version.",
        )
    return known is not None


def _signers(keys: Mapping[str, PrivateKey]) -> dict[str, list[Signer]]:
    return {role: [key.signer] for role, key in keys.items()}
