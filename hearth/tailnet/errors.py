"""What can go wrong between us and the coordination server, and the words for it."""

from __future__ import annotations

from hearth.errors import HearthError

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
CHANGED, TOO_MANY, SERVER_FAULT = 412, 429, 500

_REMEDIES = {
    UNAUTHORIZED: "it has expired or was revoked: make a new one and keep it with `hearth secrets set`, see "
    "docs/tailnet.md",
    FORBIDDEN: "give the OAuth client the scopes and the tag that docs/tailnet.md lists",
    TOO_MANY: "wait some minutes and run it again",
}
_LATER = "the server has a fault: run it again later; where it is your own, its log says more"


class TailnetError(HearthError):
    """The coordination server refused, or could not be asked.

    Args:
        status: the HTTP status; 0 where nothing, or nothing of use, was answered.
    """

    def __init__(self, action: str, reason: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(action, reason, remedy)
        self.status = status


class NotServedError(TailnetError):
    """This server does not have that part of the API."""


class PolicyRefusedError(TailnetError):
    """The policy is not valid, or one of its own tests fails."""


class PolicyChangedError(TailnetError):
    """The policy there is another than the one that was to be replaced."""


def refusal(action: str, status: int, said: str) -> TailnetError:
    """The error for an answer that is no success.

    Args:
        action: what was attempted, e.g. "list the tailnet's devices".
        status: its HTTP status.
        said: the server's words, possibly none.
    """
    reason = f"{said or 'the server gives no reason'} (HTTP {status})"
    if status == UNAUTHORIZED:
        reason = f"the credential is not accepted: {reason}"
    elif status == FORBIDDEN:
        reason = f"the credential may not: {reason}"
    remedy = _LATER if status >= SERVER_FAULT else _REMEDIES.get(status, "")
    kind = PolicyChangedError if status == CHANGED else TailnetError
    return kind(action, reason, remedy, status)


#: headscale keeps its policy in a file of its own, and says so (types.ErrPolicyUpdateIsDisabled).
_FILE_MODE = "update is disabled"


def policy_refusal(error: TailnetError) -> TailnetError:
    """What a server's refusal of a policy means.

    Args:
        error: the refusal: status 400, or whatever else the caller knows to be one.
    """
    if _FILE_MODE in error.reason:
        remedy = "set `policy.mode: database` in headscale's configuration"
        return TailnetError(error.action, error.reason, remedy, error.status)
    return PolicyRefusedError(error.action, error.reason, "mend the policy file", error.status)
