"""Prometheus' own files: what it asks and probes, what it warns of, its passwords, its pages."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

import yaml

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import AUTHORITY
from hearth.role.here import Here
from hearth.role.watched import TEXTFILES, Probe, Scrape, probes, scrapes
from hearth.role.web_config import logins, web_config
from hearth.secrets import password
from hearth.secrets.due import endings
from hearth.secrets.hashed import bcrypt_hash

from . import proxmox
from .exporters import BLACKBOX, DATABASES, MQTT, PVE, asked
from .pages import page_url, runbooks
from .rules import Limits, alerts, rules_text

FOLDER = "/etc/prometheus/hearth"
USER = "prometheus"
DUES = f"{TEXTFILES}/hearth_secrets.prom"
ALERTS = "alerts"


@dataclass(frozen=True)
class PrometheusFiles:
    """Its files, by when they are read.

    Args:
        proven: read at the start and on a reload; promtool judges them before.
        read_when_used: read again whenever they are needed.
    """

    proven: tuple[File, ...]
    read_when_used: tuple[File, ...]


def prometheus_files(here: Here) -> PrometheusFiles:
    """All of its files on this guest."""
    wanted = scrapes(here.fleet, here.roles)
    users = users_of(here)
    proven = (
        File(f"{FOLDER}/prometheus.yml", config_text(here, wanted)),
        File(f"{FOLDER}/rules/hearth.yml", rules_text(alerts(limits(here)), present(here), page_url(here))),
        # promtool looks for the files that it names, which the stage does not hold in their places.
        File(f"{FOLDER}/check-web.yml", "# Written by Hearth: what promtool is shown.\n" + logins(users)),
        *secret_files(here, wanted),
    )
    certificate = here.certificate()
    return PrometheusFiles(
        proven,
        (
            own("web.yml", web_config(users)),
            File(f"{FOLDER}/server.crt", certificate.cert_pem, USER, USER, "640"),
            own("server.key", certificate.key_pem.reveal()),
            *runbooks(here),
            # Looked up when all roles before this one have made theirs.
            File(DUES, partial(due_text, here)),
        ),
    )


def own(name: str, content: Any) -> File:
    """A file that Prometheus alone reads."""
    return File(f"{FOLDER}/{name}", content, USER, USER, "600", secret=True)


# -------------------------------------------------------------------- what is asked


def config_text(here: Here, wanted: tuple[Scrape, ...]) -> str:
    """prometheus.yml. Paths in it are relative to it, so that promtool can judge it in its stage."""
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{here.number('interval', 5)}s",
            "scrape_timeout": f"{min(10, here.number('interval', 5))}s",
            "evaluation_interval": f"{here.number('interval', 5)}s",
        },
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [*_jobs(here, wanted), *_probe_jobs(here), *_exporter_jobs(here)],
    }
    if alerting := _alerting(here):
        config["alerting"] = alerting
    return "# Written by Hearth.\n" + yaml.safe_dump(config, sort_keys=False, width=1000)


def _jobs(here: Here, wanted: tuple[Scrape, ...]) -> list[dict[str, Any]]:
    """A job for each kind of port that tells something."""
    found: dict[str, dict[str, Any]] = {}
    for scrape in wanted:
        job = found.setdefault(scrape.job, _job(here, scrape))
        job["static_configs"].append(
            {"targets": [scrape.target], "labels": {"guest": scrape.guest, "role": scrape.role}}
        )
    return list(found.values())


def _job(here: Here, scrape: Scrape) -> dict[str, Any]:
    metrics = scrape.metrics
    job: dict[str, Any] = {
        "job_name": scrape.job,
        # What a guest says of another one (a backup of it) keeps that one's name.
        "honor_labels": True,
        "metrics_path": metrics.path,
        "scheme": "https" if scrape.port.tls else "http",
        "static_configs": [],
    }
    if scrape.port.tls:
        job["tls_config"] = {"ca_file": AUTHORITY}
    if metrics.secret:
        file = {"password_file": _secret_path(here, metrics.secret)}
        if metrics.user:
            job["basic_auth"] = {"username": metrics.user, **file}
        else:
            job["authorization"] = {"credentials_file": file["password_file"]}
    return job


def _secret_name(here: Here, pattern: str) -> str:
    return pattern.format(client=service_user(here.role.name, here.guest.name))


def _secret_path(here: Here, pattern: str) -> str:
    return f"secrets/{_secret_name(here, pattern).replace('/', '-')}"


def secret_files(here: Here, wanted: tuple[Scrape, ...]) -> tuple[File, ...]:
    """The passwords and tokens, one a file; those that another role makes are looked up when it has run."""
    patterns = dict.fromkeys(scrape.metrics.secret for scrape in wanted if scrape.metrics.secret)
    found = {f"{_secret_path(here, pattern)}": _secret_name(here, pattern) for pattern in patterns}
    if here.fleet.with_role(ALERTS):
        found["secrets/alerts-prometheus"] = "alerts/prometheus"
    return tuple(own(path, partial(_secret, here, name)) for path, name in found.items())


def _secret(here: Here, name: str) -> str:
    minted = name.startswith("home-assistant/")  # only Home Assistant itself can make it
    return (here.secrets.get(name) if minted else here.secrets.ensure(name, password)).reveal()


def _probe_jobs(here: Here) -> list[dict[str, Any]]:
    """A job for each module of the blackbox exporter."""
    found: dict[str, dict[str, Any]] = {}
    for probe in (*probes(here.fleet, here.roles), *_further(here)):
        job = found.setdefault(probe.module, _probe_job(here, probe.module))
        labels = {"guest": probe.guest, "service": probe.service, "way": probe.way}
        job["static_configs"].append({"targets": [probe.target], "labels": labels})
    return list(found.values())


def _probe_job(here: Here, module: str) -> dict[str, Any]:
    return {
        "job_name": f"probe.{module}",
        "metrics_path": "/probe",
        "scrape_interval": f"{here.number('probe_interval', 5)}s",
        "params": {"module": [module]},
        "static_configs": [],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{BLACKBOX}"},
        ],
    }


def _further(here: Here) -> list[Probe]:
    """What the admin wants to have probed besides.

    Raises:
        HearthError: it is no mapping of names to web addresses.
    """
    given = here.value("probes")
    good = isinstance(given, dict) and all(
        isinstance(url, str) and url.startswith(("http://", "https://")) for url in given.values()
    )
    if not good:
        raise HearthError(
            "use monitoring_probes", f"it is {given!r}", 'write e.g. {"router": "http://192.168.1.1/"}'
        )
    return [Probe(url.partition(":")[0], url, str(name), "web") for name, url in given.items()]


def _exporter_jobs(here: Here) -> list[dict[str, Any]]:
    """The helpers beside it."""
    ports = {"mqtt": MQTT, "postgres": DATABASES}
    found = [
        {
            "job_name": name,
            "honor_labels": True,
            "static_configs": [
                {"targets": [f"127.0.0.1:{ports[name]}"], "labels": {"guest": here.guest.name}}
            ],
            **({"metric_relabel_configs": _by_server()} if name == "postgres" else {}),
        }
        for name in asked(here)
    ]
    return [*found, *([_proxmox_job(here)] if proxmox.readable(here) else [])]


def _proxmox_job(here: Here) -> dict[str, Any]:
    """Each node is asked for what it knows of the whole cluster."""
    return {
        "job_name": "pve",
        "honor_labels": True,
        "metrics_path": "/pve",
        "scrape_interval": "60s",
        "scrape_timeout": "30s",
        "params": {"module": ["default"], "cluster": ["1"], "node": ["0"]},
        "static_configs": [
            {"targets": [target], "labels": {"guest": node}} for target, node in proxmox.targets(here).items()
        ],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{PVE}"},
        ],
    }


def _by_server() -> list[dict[str, str]]:
    """One exporter asks all databases: `server` is HOST:PORT, and the host is the guest."""
    return [{"source_labels": ["server"], "regex": "([^:]+):.*", "target_label": "guest"}]


def _alerting(here: Here) -> dict[str, Any]:
    if ALERTS not in here.roles or not (found := here.providers(f"{ALERTS}.web")):
        return {}
    return {
        "alertmanagers": [
            {
                "scheme": "https",
                "tls_config": {"ca_file": AUTHORITY},
                "basic_auth": {"username": USER, "password_file": "secrets/alerts-prometheus"},
                "static_configs": [{"targets": [f"{one.guest.name}:{one.port.number}" for one in found]}],
            }
        ]
    }


# ------------------------------------------------------------------- what it warns of


def limits(here: Here) -> Limits:
    """The thresholds.

    Raises:
        HearthError: one is no number above 0.
    """
    found = {each.name: here.value(each.name) for each in fields(Limits)}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise HearthError(
                "tell when something is wrong",
                f"monitoring_{name} is {value!r}",
                "write a number above 0 into group_data/monitoring.py",
            )
    return Limits(**found)


def present(here: Here) -> frozenset[str]:
    """The roles that some guest has."""
    return frozenset(role for guest in here.fleet.guests for role in guest.roles)


# ---------------------------------------------------------------------- who gets in


def users_of(here: Here) -> dict[str, str]:
    """Who may look at Prometheus."""
    return {"admin": bcrypt_hash(here.secrets, "monitoring/admin")}


def due_text(here: Here) -> str:
    """When each secret is to be replaced, as text for the node exporter."""
    lines = [
        "# HELP hearth_secret_due_timestamp_seconds When a secret is to be replaced.",
        "# TYPE hearth_secret_due_timestamp_seconds gauge",
    ]
    policy = getattr(here.host.data, "secrets_due", {})
    for each in endings(here.secrets, policy, datetime.now(UTC)):
        labels = f'secret="{each.secret}",kind="{each.kind}"'
        lines.append(f"hearth_secret_due_timestamp_seconds{{{labels}}} {int(each.on.timestamp())}")
    return "\n".join(lines) + "\n"
