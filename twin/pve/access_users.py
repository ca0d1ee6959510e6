"""Correction: /access/users and their tokens are stateful. Recordings 747-757, 761, 773-778, 842-846.

Source of what was not recorded: PVE/API2/User.pm (pve-access-control).
"""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from fakepve import PveError
from fakepve.routing import die, param_error, split_list
from fakepve.server import USER

from twin.pve.access import Token, User
from twin.pve.permissions import Permissions

_TEXT = ("comment", "email", "firstname", "lastname", "keys")


class AccessUsers(Permissions):
    """Users and tokens. `self.apitokens` and `self.users` hold the secrets, `self.access` the rest."""

    def _routes_access_users(self) -> list[Any]:
        users = "/access/users"
        one = users + "/{userid}"
        token = one + "/token/{tokenid}"
        return [
            ("GET", users, self._user_list),
            ("POST", users, self._user_create),
            ("GET", one, self._user_read),
            ("PUT", one, self._user_update),
            ("DELETE", one, self._user_delete),
            ("GET", one + "/token", self._token_list),
            ("GET", token, self._token_read),
            ("POST", token, self._token_create),
            ("PUT", token, self._token_update),
            ("DELETE", token, self._token_delete),
        ]

    def add_user(self, userid: str, password: str | None = None) -> User:
        """Create a user, or return the one there is."""
        if password is not None:
            self.users[userid] = password
        return self.access.users.setdefault(userid, User())

    def add_token(self, tokenid: str, privsep: bool = True, secret: str | None = None) -> str:
        """Create the token `user@realm!id`, and its user where that is missing.

        Args:
            tokenid: full token id.
            privsep: whether it holds only what it was given itself (and its user has too).
            secret: its value; None makes one.

        Returns:
            `user@realm!id=secret`.
        """
        userid, _, name = tokenid.partition("!")
        self.add_user(userid).tokens[name] = Token(privsep=privsep)
        value = secret or str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        self.apitokens[tokenid] = value
        return f"{tokenid}={value}"

    def _user(self, userid: str) -> User:
        user: User | None = self.access.users.get(userid)
        if user is None:
            raise die(f"no such user ('{userid}')")
        return user

    async def _user_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        see_all = any(self.allowed(user, "/access/groups", p) for p in ("User.Modify", "Sys.Audit"))
        found = []
        for userid, one in sorted(self.access.users.items()):
            if not (see_all or userid == user):
                continue
            item: dict[str, Any] = {
                "userid": userid,
                "realm-type": userid.rpartition("@")[2],
                **_flags(one),
                **one.details,
            }
            if v.get("full"):
                item["groups"] = ",".join(sorted(one.groups))
                item["tokens"] = [dict(_token(t), tokenid=n) for n, t in sorted(one.tokens.items())]
            found.append(item)
        return found

    async def _user_create(self, v: dict[str, Any], user: str) -> None:
        userid = v["userid"]
        if userid in self.access.users:
            raise die(f"create user failed: user '{userid}' already exists")
        made = User()
        self._set_user(made, v, "create user failed: ")
        if v.get("password"):
            self.users[userid] = v["password"]
        self.access.users[userid] = made

    async def _user_read(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        one = self._user(v["userid"])
        tokens = {name: _token(token) for name, token in one.tokens.items()} or None
        return {**_flags(one), **one.details, "groups": sorted(one.groups), "tokens": tokens}

    async def _user_update(self, v: dict[str, Any], user: str) -> None:
        self._set_user(self._user(v["userid"]), v, "update user failed: ")

    async def _user_delete(self, v: dict[str, Any], user: str) -> None:
        userid = v["userid"]
        one = self._user(userid)
        if userid == "root@pam":
            raise die("delete user failed: You may not delete the super user")
        for name in one.tokens:
            self._drop_token(userid, name)
        self.access.forget("user", userid)
        self.users.pop(userid, None)
        del self.access.users[userid]

    def _set_user(self, one: User, v: dict[str, Any], failed: str) -> None:
        for group in split_list(v.get("groups")):
            if group not in self.access.groups:
                raise die(f"{failed}no such group '{group}'")
        if "enable" in v:
            one.enable = bool(v["enable"])
        if "expire" in v:
            one.expire = int(v["expire"])
        one.details.update({key: v[key] for key in _TEXT if v.get(key)})
        if "groups" in v:
            one.groups = (one.groups if v.get("append") else set()) | set(split_list(v["groups"]))

    def _known_token(self, v: dict[str, Any]) -> Token:
        found = self._user(v["userid"]).tokens.get(v["tokenid"])
        if found is None:
            raise die(f"no such token '{v['tokenid']}' for user '{v['userid']}'")
        return found

    async def _token_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        tokens = self._user(v["userid"]).tokens
        return [dict(_token(token), tokenid=name) for name, token in sorted(tokens.items())]

    async def _token_read(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        return _token(self._known_token(v))

    async def _token_create(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        if v["tokenid"] in self._user(v["userid"]).tokens:
            raise param_error(tokenid="Token already exists.")
        full = f"{v['userid']}!{v['tokenid']}"
        value = self.add_token(full, privsep=bool(v.get("privsep", 1))).partition("=")[2]
        token = self._known_token(v)
        _set_token(token, v)
        info = {"privsep": str(int(token.privsep))}
        info.update({key: str(v[key]) for key in ("expire", "comment") if v.get(key) is not None})
        return {"info": info, "value": value, "full-tokenid": full}

    async def _token_update(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        token = self._known_token(v)
        _set_token(token, v)
        if "privsep" in v:
            token.privsep = bool(v["privsep"])
        answer = _token(token)
        if v.get("regenerate"):
            full = f"{v['userid']}!{v['tokenid']}"
            self.apitokens[full] = str(uuid.uuid4())
            answer.update({"value": self.apitokens[full], "full-tokenid": full})
        return answer

    async def _token_delete(self, v: dict[str, Any], user: str) -> None:
        self._known_token(v)
        self._drop_token(v["userid"], v["tokenid"])
        del self.access.users[v["userid"]].tokens[v["tokenid"]]

    def _drop_token(self, userid: str, name: str) -> None:
        self.apitokens.pop(f"{userid}!{name}", None)
        self.access.forget("token", f"{userid}!{name}")

    def check_password(self, user: str, password: str) -> bool:
        """Whether a password is right, for a user that may log in."""
        known = user == self.user or self.access.active(user)
        return known and bool(super().check_password(user, password))

    async def _password(self, request: Any) -> Any:
        """Recording 758: a token cannot change a password, whoever's it is."""
        if "!" in request[USER]:
            raise PveError(
                403,
                "Permission check failed (URI '/access/password' not available with API token, "
                "need proper ticket.",
            )
        return await super()._password(request)


def _flags(user: User) -> dict[str, Any]:
    return {"enable": int(user.enable), "expire": user.expire}


def _token(token: Token) -> dict[str, Any]:
    shown: dict[str, Any] = {"expire": token.expire, "privsep": int(token.privsep)}
    return {**shown, "comment": token.comment} if token.comment else shown


def _set_token(token: Token, v: dict[str, Any]) -> None:
    if v.get("expire") is not None:
        token.expire = int(v["expire"])
    if v.get("comment"):
        token.comment = v["comment"]
