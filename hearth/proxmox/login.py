"""A login with a user's password instead of a token: what root does once.

POST /access/ticket: https://pve.proxmox.com/pve-docs/api-viewer/#/access/ticket. The ticket goes into a
cookie, and writes carry a token against forged requests: https://pve.proxmox.com/wiki/Proxmox_VE_API.
"""

from __future__ import annotations

from typing import Any

import requests
from proxmoxer.backends.https import ProxmoxHTTPAuthBase  # type: ignore[import-untyped]
from requests.cookies import RequestsCookieJar

from hearth.errors import HearthError
from hearth.proxmox import faults
from hearth.proxmox.access import Access, Ticket

TIMEOUT = (5.0, 30.0)  # seconds to connect, and to answer; a refusal takes 3


class TicketAuth(ProxmoxHTTPAuthBase):  # type: ignore[misc]
    """How proxmoxer sends a ticket; requests calls it for every request."""

    def __init__(self, ticket: Ticket, timeout: tuple[float, float], verify: bool | str) -> None:
        super().__init__(timeout=timeout, service="PVE", verify_ssl=verify)
        self.ticket = ticket

    def get_cookies(self) -> RequestsCookieJar:
        """The ticket."""
        cookies = RequestsCookieJar()
        cookies.set("PVEAuthCookie", self.ticket.value)
        return cookies

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add to writes what proves that they are meant."""
        if request.method != "GET":
            request.headers["CSRFPreventionToken"] = self.ticket.csrf
        return request


def log_in(endpoint: str, verify: bool | str, user: str, password: str) -> Access:
    """The way in of a user with a password.

    Args:
        endpoint: https://HOST:8006. verify: as `Access` has it.
        user: "root@pam". password: the user's; it is sent to this endpoint and kept nowhere.

    Raises:
        HearthError: the password is wrong, there is a second factor, or nobody answers.
    """
    action = f"log in as {user} at {endpoint}"
    answer = _ask(endpoint, verify, {"username": user, "password": password})
    if answer.status_code == faults.UNAUTHORIZED:
        raise HearthError(action, "the password is not accepted", "it is the one of the web interface")
    try:
        data = answer.json()["data"]
        needs_more, ticket = data.get("NeedTFA"), Ticket(data["ticket"], data["CSRFPreventionToken"])
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = f"it answers {answer.status_code} {answer.reason}"
        raise HearthError(action, reason, faults.PROXY) from None
    if needs_more:
        remedy = (
            "use a token: on the node, pveum user token add root@pam bootstrap --privsep 0; afterwards "
            "pveum user token remove root@pam bootstrap"
        )
        raise HearthError(action, "a second factor is asked for, which only people have", remedy)
    return Access(endpoint, user, "", "", verify, ticket)


def _ask(endpoint: str, verify: bool | str, form: dict[str, Any]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy of this machine comes between
        try:
            return session.post(
                f"{endpoint}/api2/json/access/ticket", data=form, verify=verify, timeout=TIMEOUT
            )
        except requests.exceptions.RequestException as error:
            raise faults.from_transport(endpoint, "POST", "/access/ticket", error) from None
