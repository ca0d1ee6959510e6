"""What every guest has: the admin's login, safe SSH, time, locale, updates, a journal, the fleet's names."""

from __future__ import annotations

from pyinfra.operations import files as pyinfra_files
from pyinfra.operations import server

from hearth.ops import apt, files, shell, ssh, systemd
from hearth.ops.files import File
from hearth.role.certificates import AUTHORITY
from hearth.role.declaration import Port, Role
from hearth.role.here import Here
from hearth.secrets import ensure_ssh_key

AGENT = "/dev/virtio-ports/org.qemu.guest_agent.0"

role = Role(
    provides=(Port("ssh", 22, audience="management"),),
    secrets=("ssh/deploy", "ca/*"),
    packages=("ca-certificates", "openssh-server", "sudo", "tzdata", "unattended-upgrades"),
    brings=("wall", "state"),
)


@role.deploy
def base(here: Here) -> None:
    """Install every role's packages, then configure the guest."""
    apt.installed(name="Install the packages of all roles", packages=packages(here))
    admin(here)
    secure_shell(here)
    clock_and_language(here)
    updates(here)
    journal(here)
    names(here)
    authority(here)
    if here.guest.kind == "vm":
        # udev starts the agent when its port appears; after the installation that has already happened.
        shell.ensure(
            name="Run the guest agent",
            holds=f"[ ! -e {AGENT} ] || systemctl is-active qemu-guest-agent.service",
            command="systemctl start qemu-guest-agent.service",
        )


def packages(here: Here) -> list[str]:
    """Debian packages of this guest: its roles', the admin's, and what its kind and locale ask for."""
    own = {*here.packages(), *here.value("extra_packages")}
    if here.guest.kind == "vm":
        own |= {"qemu-guest-agent", "systemd-timesyncd"}
    if needs_locales(here.fleet.admin.locale):
        own.add("locales")
    return sorted(own)


def needs_locales(locale: str) -> bool:
    """True where libc does not bring the locale itself, as it does C and POSIX."""
    return locale.partition(".")[0] not in ("C", "POSIX")


def charset_of(locale: str) -> str:
    """The character set of `language_COUNTRY.CHARSET@modifier`; what glibc takes where none is named."""
    return locale.partition(".")[2].partition("@")[0] or "ISO-8859-1"


def admin(here: Here) -> None:
    """The admin's user, keys and sudo; root by key only."""
    who = here.fleet.admin
    if who.user != "root":
        shell.ensure(
            name="Create the admin's user",
            holds=f"id -u {who.user}",
            command=f"useradd -m -s /bin/bash {who.user}",
        )
        files.present(
            name="Let the admin use sudo without a password",
            files=[
                File("/etc/sudoers.d/hearth-admin", f"{who.user} ALL=(ALL:ALL) NOPASSWD: ALL\n", mode="440")
            ],
            check="visudo -cqf {candidate}",
        )
    if who.user != "root" and who.keys:
        folder = f"/home/{who.user}/.ssh"
        pyinfra_files.directory(
            name="Make a place for the admin's keys", path=folder, user=who.user, group=who.user, mode="700"
        )
        keys = File(f"{folder}/authorized_keys", "\n".join(who.keys) + "\n", who.user, who.user, "600")
        files.present(name="Give the admin's keys their place", files=[keys])
    deploy_key = ensure_ssh_key(here.secrets, "deploy")[1]
    server.user_authorized_keys(
        name="Keep Hearth's and the admin's keys for root",
        user="root",
        public_keys=[deploy_key, *who.keys],
        delete_keys=here.value("only_our_root_keys"),
        authorized_key_directory="/root/.ssh",
    )
    shell.ensure(
        name="Give root no password", holds="passwd -S root | grep -q '^root L'", command="passwd -ql root"
    )


def secure_shell(here: Here) -> None:
    """SSH by key only, and never without a way back."""
    ssh.settings(
        name="Harden SSH",
        file=here.template("sshd.conf.j2", "/etc/ssh/sshd_config.d/00-hearth.conf", mode="600"),
        rollback_after=here.number("ssh_rollback_after", 10),
    )


def clock_and_language(here: Here) -> None:
    """Time zone, locale, and on VMs a clock that is set from the network."""
    zone, locale = here.fleet.admin.timezone, here.fleet.admin.locale
    there = f"/usr/share/zoneinfo/{zone}"
    shell.ensure(
        name="Set the time zone",
        holds=f"[ -e {there} ] && [ $(readlink -f /etc/localtime) = $(readlink -f {there}) ]",
        command=f"ln -sfn {there} /etc/localtime && echo {zone} > /etc/timezone",
    )
    if needs_locales(locale):
        charset = charset_of(locale)
        shell.ensure(
            name="Make the locale",
            holds=f"LC_ALL={locale} locale charmap 2>&1 | grep -qxF {charset}",
            command=f"echo '{locale} {charset}' >> /etc/locale.gen && locale-gen >/dev/null",
        )
    files.present(name="Set the locale", files=[File("/etc/default/locale", f"LANG={locale}\n")])
    if here.guest.kind == "vm":
        servers = here.template("timesyncd.conf.j2", "/etc/systemd/timesyncd.conf.d/hearth.conf")
        files.present(name="Choose time servers", files=[servers])
        systemd.service(name="Keep the time", unit="systemd-timesyncd.service", restart_on=[servers])


def updates(here: Here) -> None:
    """Security updates, installed by Debian's own timers."""
    files.present(
        name="Configure security updates",
        files=[here.template("unattended-upgrades.j2", "/etc/apt/apt.conf.d/90hearth-unattended-upgrades")],
        check="apt-config -c {candidate} dump >/dev/null",
    )
    systemd.service(name="Fetch package lists every day", unit="apt-daily.timer")
    systemd.service(name="Install security updates every day", unit="apt-daily-upgrade.timer")


def journal(here: Here) -> None:
    """A journal that survives a restart and does not fill the disk."""
    limits = here.template("journald.conf.j2", "/etc/systemd/journald.conf.d/hearth.conf")
    files.present(name="Limit the journal", files=[limits])
    systemd.service(name="Keep a journal", unit="systemd-journald.service", restart_on=[limits])


def names(here: Here) -> None:
    """The fleet's names in /etc/hosts, this guest's own first."""
    files.block(name="Know the fleet by name", path="/etc/hosts", lines=here.host_lines())
    if here.guest.kind == "vm":
        # Proxmox's cloud-init writes /etc/hosts again at every boot (manage_etc_hosts), from this template.
        files.block(
            name="Know the fleet by name after a restart too",
            path="/etc/cloud/templates/hosts.debian.tmpl",
            lines=here.host_lines(),
            only_if_present=True,
        )


def authority(here: Here) -> None:
    """Trust the fleet's own certificate authority."""
    pem = here.authority.ca_pem
    line = pem.strip().splitlines()[-2]  # the signature's end: no other certificate has it
    files.present(name="Bring the fleet's certificate authority", files=[File(AUTHORITY, pem)])
    shell.ensure(
        name="Trust the fleet's certificate authority",
        holds=f"grep -qxF {line} /etc/ssl/certs/ca-certificates.crt",
        command="update-ca-certificates >/dev/null",
    )
