"""What Proxmox's automated installer takes as answers: names, types and rules, as its own source has them.

proxmox/pve-installer 9.2.7, proxmox-auto-installer: the answer's types (deny_unknown_fields, kebab-case) and
src/utils.rs (verify_...). What it asks of its running system (countries, disks) is not here.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

KEYBOARDS = "de de-ch dk en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it jp lt mk nl no pl pt pt-br se si tr"


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _one_of(words: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in words.split():
            raise ValueError(f"{value} is none of {words}")
        return value

    return AfterValidator(check)


def _matches(pattern: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value} is not like {pattern}")
        return value

    return AfterValidator(check)


def _is_cidr(value: str) -> str:
    if "/" not in value:
        raise ValueError("has no prefix length")
    ip_interface(value)
    return value


def _is_address(value: str) -> str:
    ip_address(value)
    return value


Address = Annotated[str, AfterValidator(_is_address)]


class Part(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=_kebab)


class Global(Part):
    """[global]"""

    country: Annotated[str, _matches("[a-z]{2}")]
    fqdn: Annotated[str, _matches(r"(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}")]
    keyboard: Annotated[str, _one_of(KEYBOARDS)]
    mailto: Annotated[str, _matches(r"[\w+.~-]+@[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*")]
    timezone: Annotated[str, _matches("UTC|[A-Za-z_]+/[A-Za-z_/+-]+")]
    root_password: str | None = Field(default=None, min_length=8)
    root_password_hashed: str | None = None
    reboot_on_error: bool = False
    reboot_mode: Literal["reboot", "power-off"] = "reboot"
    root_ssh_keys: list[str] = []

    @model_validator(mode="after")
    def _one_password(self) -> Global:
        if (self.root_password is None) == (self.root_password_hashed is None):
            raise ValueError("needs one of root-password and root-password-hashed")
        return self


class Network(Part):
    """[network]"""

    source: Literal["from-dhcp", "from-answer"] = "from-dhcp"
    cidr: Annotated[str, AfterValidator(_is_cidr)] | None = None
    dns: Address | None = None
    gateway: Address | None = None
    filter: dict[str, str] = {}

    @model_validator(mode="after")
    def _whole(self) -> Network:
        given = [self.cidr, self.dns, self.gateway, self.filter or None]
        if self.source == "from-answer" and None in given:
            raise ValueError("from-answer needs cidr, dns, gateway and filter")
        if self.source == "from-dhcp" and any(given):
            raise ValueError("from-dhcp takes none of cidr, dns, gateway and filter")
        return self


class Lvm(Part):
    """[disk-setup] lvm"""

    hdsize: float | int | None = None
    swapsize: float | int | None = None
    maxroot: float | int | None = None
    maxvz: float | int | None = None
    minfree: float | int | None = None


class Disks(Part):
    """[disk-setup]: ext4 and xfs only; nested-node.sh has one disk."""

    filesystem: Literal["ext4", "xfs"]
    disk_list: list[str] = []
    filter: dict[str, str] = {}
    filter_match: Literal["any", "all"] | None = None
    lvm: Lvm | None = None

    @model_validator(mode="after")
    def _some(self) -> Disks:
        if bool(self.disk_list) == bool(self.filter):
            raise ValueError("needs one of disk-list and filter")
        if len(self.disk_list) > 1:
            raise ValueError("ext4 and xfs take one disk")
        return self


class FirstBoot(Part):
    """[first-boot]"""

    source: Literal["from-url", "from-iso"]
    ordering: Literal["before-network", "network-online", "fully-up"] = "fully-up"
    url: str | None = None
    cert_fingerprint: str | None = None


class Answers(Part):
    """The file."""

    global_: Global = Field(alias="global")
    network: Network
    disk_setup: Disks
    first_boot: FirstBoot | None = None
