"""The whole examination, in the order in which things depend on each other."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from hearth.backup.keeping import COPIER
from hearth.doctor import ask
from hearth.doctor.finding import Finding, fail, ok, warn
from hearth.doctor.node import (
    judge_bridges,
    judge_clock,
    judge_guests,
    judge_online,
    judge_place,
    judge_version,
)
from hearth.doctor.reach import judge_way, try_way
from hearth.doctor.rights import judge_rights
from hearth.doctor.root_only import judge_tailnet, judge_wrapper, root_only_keys
from hearth.doctor.storages import images_of, judge_images, judge_storages, wanted_content
from hearth.errors import HearthError
from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.model import AUTO, Fleet, Node
from hearth.known_hosts import KnownHosts
from hearth.path import addresses_on_path, guests_on_path
from hearth.proxmox.access import CA_BUNDLE, Access, access
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.images import volume_of
from hearth.proxmox.privileges import needed
from hearth.role.catalogue import load_roles
from hearth.secrets import SecretStore
from hearth.secrets.identity import read_identities

UNAUTHORIZED = 401
CA_WARN = timedelta(days=365)

log = logging.getLogger("hearth")


@dataclass(frozen=True)
class Home:
    """What is examined: the project's folder and the environment; `notify` is told of a new identity."""

    project: Path
    environ: Mapping[str, str]
    notify: Callable[[str], None] = log.warning

    @property
    def fleet_file(self) -> Path:
        """HEARTH_FLEET, or inventory/fleet.yaml."""
        return self.project / (self.environ.get("HEARTH_FLEET") or "inventory/fleet.yaml")

    @property
    def secrets(self) -> SecretStore:
        """The project's secrets."""
        return SecretStore.from_environment(self.project, self.environ, self.notify)

    @property
    def state_dir(self) -> Path:
        """HEARTH_STATE_DIR, or .hearth."""
        return self.project / (self.environ.get("HEARTH_STATE_DIR") or ".hearth")

    @property
    def known_hosts(self) -> KnownHosts:
        """The project's known hosts."""
        return KnownHosts(self.state_dir / "known_hosts")

    def load_fleet(self) -> Fleet:
        """The fleet; FleetError with every mistake."""
        return load_fleet(self.fleet_file, load_roles(self.project / "roles"))


def examine(home: Home) -> list[Finding]:
    """Everything that can be examined; what depends on something broken is left out."""
    findings = examine_secrets(home.secrets)
    try:
        fleet = home.load_fleet()
    except FleetError as error:
        wrong = [fail("fleet", f"{m.file}:{m.line}: {m.field}: {m.wrong}", m.right) for m in error.mistakes]
        return wrong + findings
    except HearthError as error:
        return [fail("fleet", f"{error.action}: {error.reason}", error.remedy), *findings]
    findings.insert(0, ok("fleet", f"{home.fleet_file.name}: {len(fleet.guests)} guests, no mistakes"))
    for node in fleet.nodes:
        findings += examine_node(home, fleet, node)
    findings.append(judge_place(guests_on_path(fleet, addresses_on_path(fleet))))
    return findings + judge_way_back(fleet, shutil.which("restic") is not None)


def judge_way_back(fleet: Fleet, has_restic: bool) -> list[Finding]:
    """Whether this machine could read the copy of the backups elsewhere, where the home has one."""
    if not fleet.with_role(COPIER):
        return []
    if has_restic:
        return [ok("restore", "restic is here: the copy of the backups can be read from this machine")]
    text = "restic is not installed here: a restore from the copy of the backups elsewhere needs it"
    return [warn("restore", text, "apt install restic")]


def examine_secrets(store: SecretStore) -> list[Finding]:
    """The secrets file opens with the identity, whose file is private; the CA does not end soon."""
    try:
        if store.identity_file.exists():
            read_identities(store.identity_file)
        if not store.path.exists():
            return [ok("secrets", f"{store.path.name} is not there yet: the first deploy makes it")]
        count = len(store.names())
        certificate = store.find("ca/cert")
    except HearthError as error:
        return [fail("secrets", f"{error.action}: {error.reason}", error.remedy)]
    findings = [ok("secrets", f"{store.path.name} opens: {count} secrets")]
    if certificate is not None:
        findings += _judge_ca(certificate.reveal(), datetime.now(UTC))
    return findings


def _judge_ca(pem: str, now: datetime) -> list[Finding]:
    try:
        end = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    except ValueError:
        return [fail("ca", "the CA certificate in the secrets is damaged", "hearth secrets remove ca/cert")]
    if end - now >= CA_WARN:
        return []
    remedy = "hearth secrets remove ca/cert; then deploy, and install the new CA certificate on the phones"
    return [warn("ca", f"the home's CA certificate ends on {end:%Y-%m-%d}", remedy)]


def examine_node(home: Home, fleet: Fleet, node: Node) -> list[Finding]:
    """One node: the way to its API, the token, and all that the fleet wants of it."""
    try:
        token = home.secrets.find("proxmox/token")
    except HearthError as error:
        return [fail("token", f"{error.action}: {error.reason}", error.remedy)]
    try:
        way = access(node, home.environ, token.reveal() if token else None)
    except HearthError as error:
        return [
            fail(
                "token",
                f"{error.action}: {error.reason}",
                f"{error.remedy}: hearth secrets set proxmox/token",
            )
        ]
    reached = judge_way(node, way.endpoint, try_way(way), bool(home.environ.get(CA_BUNDLE)))
    if reached.status != "ok":
        return [reached]
    return [reached, *_logged_in(home, fleet, node, way)]


def _logged_in(home: Home, fleet: Fleet, node: Node, way: Access) -> list[Finding]:
    api = Api(way)
    try:
        version = str(api.get("/version")["version"])
        rows = api.get("/nodes") or []
        wanted = needed(fleet)
        held, everywhere = ask.rights(api, wanted)
    except ApiError as error:
        return [_refused(way, error)]
    findings = [judge_version(node, version)]
    findings += judge_rights(wanted, held, everywhere, way.user, way.token_name)
    findings.append(judge_online(node, rows))
    if findings[-1].status == "ok":
        findings += _node_itself(home, fleet, node, api)
    return findings


def _refused(way: Access, error: ApiError) -> Finding:
    if error.status != UNAUTHORIZED:
        return fail("api", f"{error.action}: {error.reason}", error.remedy)
    user, name = way.user, way.token_name
    remedy = (
        f"on the node: pveum user token list {user}; make a new one: pveum user token remove {user} {name}; "
        f"pveum user token add {user} {name}, then hearth secrets set proxmox/token"
    )
    return fail("token", f"{way.endpoint} does not accept the token {user}!{name}: {error.reason}", remedy)


def _node_itself(home: Home, fleet: Fleet, node: Node, api: Api) -> list[Finding]:
    answers = ask.Answers()
    guests = [guest for guest in fleet.guests if guest.node in (node.name, AUTO)]
    findings: list[Finding] = []
    clocks = answers.of(lambda: ask.clock(api, node), None)
    if clocks:
        findings.append(judge_clock(node, *clocks))
    view = answers.of(lambda: ask.view(api, node), None)
    absent = [guest for guest in guests if view is not None and view.find(guest.vmid) is None]
    images = images_of(fleet, absent)
    storages = answers.of(lambda: api.get(f"/nodes/{node.name}/storage") or [], None)
    if storages is not None:
        names = {guest.name for guest in guests}
        jobs = [job for job in fleet.backup.jobs if names & set(job.guests)] if fleet.backup else []
        content = wanted_content(node, guests, images_of(fleet, guests), jobs)
        findings += judge_storages(node, storages, content, absent)
    volumes = answers.of(lambda: ask.volumes(api, node), None)
    if volumes is not None:
        lacking = [image for image in images if volume_of(image, node) not in volumes]
        findings += judge_images(node, volumes, images, ask.unreachable(api, node, lacking))
    bridges = answers.of(lambda: api.get(f"/nodes/{node.name}/network") or [], None)
    if bridges is not None:
        used = {guest.network for guest in guests}
        findings += judge_bridges(node, bridges, [net for net in fleet.networks if net.name in used])
    if view is not None:
        findings += judge_guests(view, fleet.guests)
    findings += _root_only(home, fleet, node)
    return findings + [fail("api", f"{e.action}: {e.reason}", e.remedy) for e in answers.errors]


def _root_only(home: Home, fleet: Fleet, node: Node) -> list[Finding]:
    guests = [guest for guest in fleet.guests if guest.node in (node.name, AUTO)]
    if not node.tailnet and not any(root_only_keys(guest) for guest in guests):
        return judge_wrapper(node, guests, None)
    try:
        key = home.secrets.find("ssh/node")
    except HearthError as error:
        return judge_wrapper(node, guests, error)
    answer = ask.devices(node, home.known_hosts, key)
    findings = judge_wrapper(node, guests, answer)
    if node.tailnet and not isinstance(answer, HearthError):
        findings.append(judge_tailnet(node, ask.tailnet(node, home.known_hosts, key)))
    return findings
