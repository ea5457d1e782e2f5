"""The agent's TUF client against a repository on the loopback: the attacks that TUF names, one by one."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Targets

from kenpin_agent.trust import fetching
from support import ROOT
from support.tuf_site import TufSite

CLIENT = ROOT / "tests" / "tuf" / "client.py"
_spec = importlib.util.spec_from_file_location("tuf_client", CLIENT)
assert _spec is not None
assert _spec.loader is not None
client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client)

DAY = timedelta(days=1)


class Handler(BaseHTTPRequestHandler):
    site: ClassVar[TufSite]
    asked: ClassVar[list[str]]
    endless: ClassVar[frozenset[str]]

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.asked.append(name)
        data = self.site.files.get(name)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")
        if name in self.endless:
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                pass  # the client has had enough

    def log_message(self, *_: object) -> None:
        pass


class Bench:
    """A repository, its server, and a client's folders."""

    def __init__(self, folder: Path, site: TufSite) -> None:
        self.site = site
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()
        self.asked: list[str] = []
        names = {"site": site, "asked": self.asked, "endless": frozenset()}
        self.handler = type("OneSitesHandler", (Handler,), names)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        (folder / "root.json").write_bytes(site.pinned)
        assert self.run("init", str(folder / "root.json")) == 0

    def run(self, *command: str) -> int:
        return int(client.main(["--metadata-dir", str(self.metadata), "--metadata-url", self.url, *command]))

    def refresh(self) -> bool:
        self.asked.clear()
        return self.run("refresh") == 0

    def download(self, name: str) -> bool:
        self.asked.clear()
        place = ["--target-base-url", self.url, "--target-dir", str(self.targets), "--target-name", name]
        return self.run(*place, "download") == 0

    def version(self, role: str) -> int:
        return int(Metadata.from_file(str(self.metadata / f"{role}.json")).signed.version)

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(self.version(role) for role in ("root", "timestamp", "snapshot", "targets"))


@pytest.fixture(params=[True, False], ids=["consistent", "plain"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, TufSite(consistent=request.param))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):
    """What the client said last, which must be one line."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    return read


def test_a_first_refresh_takes_everything_and_a_second_asks_for_news_only(bench):
    assert bench.refresh()
    assert bench.versions == (1, 1, 1, 1)
    assert bench.refresh()
    assert bench.asked == ["2.root.json", "timestamp.json"]


def test_news_is_followed(bench):
    assert bench.refresh()
    bench.site.release()
    assert bench.refresh()
    assert bench.versions == (1, 2, 2, 2)


def test_a_target_is_fetched_once_and_verified(bench):
    bench.site.add_target("controller.json", b"{}")
    bench.site.release()
    assert bench.download("controller.json")
    assert (bench.targets / "controller.json").read_bytes() == b"{}"
    assert bench.download("controller.json")
    assert not any("controller" in name for name in bench.asked)


def test_a_target_that_changed_takes_the_old_ones_place(bench):
    for content in (b"one", b"two"):
        bench.site.add_target("folder/name", content)
        bench.site.release()
        assert bench.download("folder/name")
        assert [file.read_bytes() for file in bench.targets.iterdir()] == [content]


def test_a_target_that_is_not_named_is_not_fetched(bench, said):
    bench.site.files["controller.json"] = b"{}"
    assert not bench.download("controller.json")
    assert "does not name it" in said()


@pytest.mark.parametrize("content", [b"[]", b"{", b"{} "], ids=["wrong hash", "too short", "too long"])
def test_a_target_of_another_hash_or_length_is_refused(bench, said, content):
    bench.site.add_target("controller.json", b"{}")
    bench.site.release()
    for name in bench.site.files:
        if name.endswith("controller.json"):
            bench.site.files[name] = content
    assert not bench.download("controller.json")
    assert list(bench.targets.iterdir()) == []
    assert "not the file that was signed" in (line := said()) or "exceeding" in line


class TestRoot:
    def test_a_root_that_old_and_new_keys_signed_is_followed_through_every_version(self, bench):
        assert bench.refresh()
        for _ in range(3):
            bench.site.rotate("root")
        bench.site.release()
        assert bench.refresh()
        assert bench.versions == (4, 2, 2, 2)

    @pytest.mark.parametrize("by", ["old", "new", "nobody"])
    def test_a_root_that_only_one_side_signed_is_refused(self, bench, by):
        assert bench.refresh()
        site, before = bench.site, list(bench.site.signers["root"])
        site.rotate("root")
        signers = {"old": before, "new": site.signers["root"], "nobody": []}[by]
        site.files["2.root.json"] = site.sign(site.root, signers)
        assert not bench.refresh()
        assert bench.version("root") == 1

    @pytest.mark.parametrize("version", [1, 3])
    def test_a_root_under_another_versions_name_is_refused(self, bench, version):
        bench.site.root.version = version
        bench.site.files["2.root.json"] = bench.site.sign(bench.site.root, bench.site.signers["root"])
        assert not bench.refresh()

    def test_an_expired_root_is_no_end_if_a_newer_one_is_there(self, bench):
        site = bench.site
        site.root.expires = site.now - DAY
        site.rotate("root")
        assert not bench.refresh()
        site.root.expires = site.expires
        site.rotate("root")
        assert bench.refresh()
        assert bench.version("root") == 3

    def test_a_role_with_too_few_signatures_is_refused(self, bench):
        assert bench.refresh()
        site = bench.site
        site.rotate("targets", threshold=2)
        all_signers, site.signers["targets"] = site.signers["targets"], site.signers["targets"][:1]
        site.release()
        assert not bench.refresh()
        assert bench.version("targets") == 1
        site.signers["targets"] = [
            *site.signers["targets"],
            *site.signers["targets"],
        ]  # one key twice is one key
        site.release()
        assert not bench.refresh()
        site.signers["targets"] = all_signers
        site.release()
        assert bench.refresh()

    def test_a_pinned_root_that_its_own_key_did_not_sign_is_none(self, bench, said):
        pinned = Metadata.from_bytes(bench.site.pinned)
        pinned.signatures.clear()
        (bench.metadata / client.PINNED).write_bytes(pinned.to_bytes())
        assert not bench.refresh()
        assert "no TUF root metadata" in said()
        assert bench.asked == []


class TestUnknownKeys:
    @pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
    def test_what_another_key_signed_is_refused(self, bench, role, said):
        assert bench.refresh()
        before = bench.versions
        bench.site.signers[role] = [CryptoSigner.generate_ed25519()]
        bench.site.release()
        assert not bench.refresh()
        assert bench.version(role) == before[("root", "timestamp", "snapshot", "targets").index(role)]
        assert "not what the site's keys signed" in said()

    def test_one_role_cannot_sign_for_another(self, bench):
        bench.site.signers["targets"] = bench.site.signers["timestamp"]
        bench.site.release()
        assert not bench.refresh()


class TestExpiry:
    @pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
    def test_what_has_expired_is_refused_and_the_clock_is_named(self, bench, role, said):
        getattr(bench.site, role).expires = bench.site.now - DAY
        bench.site.release()
        assert not bench.refresh()
        line = said()
        assert "expired" in line
        assert "set its clock" in line

    def test_a_frozen_repository_is_refused_once_its_timestamp_expired(self, bench):
        bench.site.timestamp.expires = bench.site.now - DAY
        bench.site.publish()
        assert not bench.refresh()
        assert not (bench.metadata / "targets.json").exists()


class TestRollback:
    @pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
    def test_an_older_version_is_refused(self, bench, role):
        bench.site.release()
        assert bench.refresh()
        before = bench.versions
        getattr(bench.site, role).version -= 1
        others = {"timestamp": (), "snapshot": ("timestamp",), "targets": ("snapshot", "timestamp")}[role]
        for other in others:
            getattr(bench.site, other).version += 1
        bench.site.publish()
        assert not bench.refresh()
        assert bench.version(role) == before[("root", "timestamp", "snapshot", "targets").index(role)]

    def test_targets_that_vanish_from_the_snapshot_are_refused(self, bench):
        site = bench.site
        bench.refresh()
        site.snapshot.meta["other.json"] = site.snapshot.meta["targets.json"]
        site.release()
        assert bench.refresh()
        del site.snapshot.meta["other.json"]
        site.release()
        assert not bench.refresh()

    def test_after_a_fast_forward_attack_a_new_key_starts_low_again(self, bench):
        site = bench.site
        for role in ("timestamp", "snapshot"):
            getattr(site, role).version = 99_999
        site.publish()
        assert bench.refresh()
        for role in ("timestamp", "snapshot"):
            getattr(site, role).version = 2
            site.rotate(role)
        site.publish()
        assert bench.refresh()
        assert bench.versions == (3, 2, 2, 1)


class TestMixAndMatch:
    def test_an_old_snapshot_or_targets_under_a_new_timestamp_is_refused(self, bench):
        site = bench.site
        old = dict(site.files)
        site.release()
        for role in ("snapshot", "targets"):
            name = f"2.{role}.json" if site.root.consistent_snapshot else f"{role}.json"
            kept = site.files[name]
            site.files[name] = old[name.replace("2.", "1.")]
            assert not bench.refresh()
            site.files[name] = kept
        assert bench.refresh()

    @pytest.mark.parametrize("role", ["snapshot", "targets"])
    def test_metadata_that_does_not_match_its_pointer_is_refused(self, bench, role):
        site = bench.site
        name = f"1.{role}.json" if site.root.consistent_snapshot else f"{role}.json"
        site.files[name] += b"\n"  # the same to JSON, but not what was pointed to
        assert not bench.refresh()


class TestEndlessData:
    @pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"])
    def test_what_does_not_end_is_cut(self, bench, name, said):
        site = bench.site
        if site.root.consistent_snapshot and name.startswith(("snapshot", "targets")):
            name = f"1.{name}"
        site.files.setdefault(name, b"{}")
        bench.handler.endless = frozenset({name})
        assert not bench.refresh()
        assert "exceeding" in said()

    def test_a_target_that_does_not_end_is_cut(self, bench):
        bench.site.add_target("controller.json", b"{}")
        bench.site.release()
        bench.handler.endless = frozenset(bench.site.files)
        bench.handler.endless -= {n for n in bench.handler.endless if "controller" not in n}
        assert not bench.download("controller.json")

    def test_what_only_drips_is_given_up(self, bench, monkeypatch, said):
        monkeypatch.setattr(fetching, "FILE_S", 0.0)
        assert not bench.refresh()
        assert "not complete after" in said()


class TestKinds:
    @pytest.mark.parametrize("make", [CryptoSigner.generate_ecdsa, CryptoSigner.generate_rsa])
    def test_other_kinds_of_keys_sign_as_well(self, bench, make):
        site, before = bench.site, bench.site.signers["root"]
        site.rotate("targets")
        site.signers["targets"] = [make()]
        site.root.roles["targets"].keyids = []
        site.root.add_key(site.signers["targets"][0].public_key, "targets")
        site.publish_root(before)
        site.release()
        assert bench.refresh()
        assert bench.version("targets") == 2

    def test_fields_of_the_future_are_kept_in_what_is_verified(self, bench):
        bench.site.targets.unrecognized_fields["later"] = {"a": [1, "b"]}
        bench.site.release()
        assert bench.refresh()

    def test_a_timestamp_that_changed_under_its_version_is_not_taken(self, bench):
        assert bench.refresh()
        kept = (bench.metadata / "timestamp.json").read_bytes()
        bench.site.timestamp.snapshot_meta.version = 100
        bench.site.files["timestamp.json"] = bench.site.sign(
            bench.site.timestamp, bench.site.signers["timestamp"]
        )
        assert bench.refresh()
        assert (bench.metadata / "timestamp.json").read_bytes() == kept


class TestDelegation:
    @pytest.mark.parametrize("name", ["?", "#", "/discs", "../discs"])
    def test_no_name_of_a_role_leads_out_of_the_folder(self, bench, name):
        site, signer = bench.site, CryptoSigner.generate_ed25519()
        role = DelegatedRole(name, [signer.public_key.keyid], 1, terminating=False, paths=["*"])
        site.targets.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {name: role})
        site.snapshot.meta[f"{name}.json"] = MetaFile(1)
        quoted = f"{quote(name, '')}.json"
        served = f"1.{quoted}" if site.root.consistent_snapshot else quoted
        site.files[served] = site.sign(Targets(expires=site.expires), [signer])
        site.release()
        outside = {path for path in bench.metadata.parent.rglob("*") if bench.metadata not in path.parents}
        assert not bench.download("no-such-target")
        assert served in bench.asked
        assert (bench.metadata / quoted).is_file()
        assert outside == {
            path for path in bench.metadata.parent.rglob("*") if bench.metadata not in path.parents
        }

    def test_a_role_that_one_delegator_trusts_is_not_thereby_trusted_by_another(self, bench):
        site, signer, other = bench.site, CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
        consistent = site.root.consistent_snapshot

        def delegate(to: Targets, name: str, key: CryptoSigner, path: str) -> None:
            to.delegations = to.delegations or Delegations({}, {})
            to.delegations.roles[name] = DelegatedRole(name, [], 1, terminating=False, paths=[path])
            to.add_key(key.public_key, name)

        a, b = Targets(expires=site.expires), Targets(expires=site.expires)
        shared = Targets(expires=site.expires)
        for name in ("one.doc", "one.md"):
            shared.targets[name] = site.add_target(name, name.encode())
            del site.targets.targets[name]
        delegate(site.targets, "a", signer, "*.doc")
        delegate(site.targets, "b", signer, "*.md")
        delegate(a, "shared", signer, "*")
        delegate(b, "shared", other, "*")
        for name, role in (("a", a), ("b", b), ("shared", shared)):
            site.files[f"1.{name}.json" if consistent else f"{name}.json"] = site.sign(role, [signer])
            site.snapshot.meta[f"{name}.json"] = MetaFile(1)
        site.release()
        assert bench.download("one.doc")
        assert not bench.download("one.md")

    def test_a_target_of_a_delegated_role_is_found_and_verified(self, bench):
        site, signer = bench.site, CryptoSigner.generate_ed25519()
        role = DelegatedRole("discs", [signer.public_key.keyid], 1, terminating=True, paths=["discs-*"])
        site.targets.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {"discs": role})
        target = site.add_target("discs-1.kenpin", b"release")
        del site.targets.targets["discs-1.kenpin"]
        delegated = Targets(expires=site.expires, targets={"discs-1.kenpin": target})
        site.signers["discs"] = [signer]
        data = site.sign(delegated, [signer])
        site.files["1.discs.json" if site.root.consistent_snapshot else "discs.json"] = data
        site.snapshot.meta["discs.json"] = MetaFile(1)
        site.release()
        assert bench.download("discs-1.kenpin")
        site.files["1.discs.json" if site.root.consistent_snapshot else "discs.json"] = site.sign(
            delegated, [CryptoSigner.generate_ed25519()]
        )
        (bench.metadata / "discs.json").unlink()
        assert not bench.download("discs-1.kenpin")


class TestPowerCut:
    @pytest.mark.parametrize("left", [b"", b"\0" * 400, b'{"signed": {'])
    @pytest.mark.parametrize("role", ["root_history/2.root", "timestamp", "snapshot", "targets"])
    def test_a_torn_file_is_fetched_again(self, bench, role, left):
        bench.site.rotate("targets")
        bench.site.release()
        assert bench.refresh()
        file = bench.metadata / f"{role}.json"
        whole = file.read_bytes()
        file.write_bytes(left)
        assert bench.refresh()
        assert file.read_bytes() == whole

    def test_files_are_synced_before_they_take_their_place(self, bench, monkeypatch):
        synced: list[bytes] = []
        monkeypatch.setattr(
            "os.fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        )
        assert bench.refresh()
        assert {".1.root.json.new", ".timestamp.json.new", ".snapshot.json.new", ".targets.json.new"} <= set(
            synced
        )


def test_as_a_command_it_exits_with_0_or_with_1_and_one_line(bench):
    command = [
        sys.executable,
        str(CLIENT),
        "--metadata-dir",
        str(bench.metadata),
        "--metadata-url",
        bench.url,
    ]
    assert subprocess.run([*command, "refresh"], capture_output=True, check=True).stderr == b""
    bench.site.files["timestamp.json"] = b"{}"
    refused = subprocess.run([*command, "refresh"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1


def test_what_is_trusted_lies_under_its_own_name_and_nothing_else_does(bench):
    site = bench.site
    site.rotate("root")
    site.publish()
    assert bench.refresh()
    assert sorted(file.name for file in bench.metadata.glob("*.json")) == [
        "root.json",
        "snapshot.json",
        "targets.json",
        "timestamp.json",
    ]
    for role in ("root", "timestamp", "snapshot", "targets"):
        assert (bench.metadata / f"{role}.json").read_bytes() in site.files.values()
    assert bench.run("init", str(bench.metadata.parent / "root.json")) == 0
    assert bench.refresh()
    assert bench.version("root") == 2


def test_init_asks_nobody_anything(bench):
    assert bench.asked == []
    root = (bench.metadata / "root.json").read_bytes()
    assert hashlib.sha256(root).digest() == hashlib.sha256(bench.site.pinned).digest()
    assert isinstance(Metadata.from_bytes(root).signed, Root)
