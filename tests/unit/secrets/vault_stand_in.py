"""A stand-in of a Vaultwarden: as much of its API as `bw` needs to log in, synchronise and unlock.

Paths and shapes: Vaultwarden's src/api/identity.rs, src/api/core (August 2026). The cryptography is the real
one (bitwarden.com/help/bitwarden-security-white-paper): without the master password nothing can be read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ROUNDS = 5000  # of PBKDF2; the least that bw takes
DATE = "2026-10-01T08:00:00.000000Z"
LOGIN, NOTE, HIDDEN = 1, 2, 1


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sealed(key: bytes, plain: bytes) -> str:
    """An EncString of type 2: AES-256-CBC, and HMAC-SHA256 over both."""
    padder = padding.PKCS7(128).padder()
    vector = os.urandom(16)
    encryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(vector)).encryptor()
    text = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    return f"2.{b64(vector)}|{b64(text)}|{b64(hmac.digest(key[32:], vector + text, 'sha256'))}"


@dataclass
class Account:
    """A user with items; only `password_hash` and ciphertexts ever leave it."""

    email: str
    password: str
    items: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.user_key = os.urandom(64)
        master = hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.email.encode(), ROUNDS)
        self.password_hash = b64(hashlib.pbkdf2_hmac("sha256", master, self.password.encode(), 1))
        stretched = b"".join(HKDFExpand(SHA256(), 32, info).derive(master) for info in (b"enc", b"mac"))
        self.key = sealed(stretched, self.user_key)
        pair = rsa.generate_private_key(65537, 2048)
        private = pair.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.private_key = sealed(self.user_key, private)
        self.public_key = b64(
            pair.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def _seal(self, text: str | None) -> str | None:
        return None if text is None else sealed(self.user_key, text.encode())

    def add(
        self,
        name: str,
        password: str | None = None,
        username: str | None = None,
        notes: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> str:
        """Add an item (a note, where it has neither password nor user name); its id."""
        login = password is not None or username is not None
        entry: dict[str, Any] = {
            "object": "cipherDetails",
            "id": str(uuid.uuid4()),
            "type": LOGIN if login else NOTE,
            "creationDate": DATE,
            "revisionDate": DATE,
            "deletedDate": None,
            "reprompt": 0,
            "organizationId": None,
            "folderId": None,
            "favorite": False,
            "edit": True,
            "viewPassword": True,
            "permissions": {"delete": True, "restore": True},
            "organizationUseTotp": True,
            "collectionIds": [],
            "name": self._seal(name),
            "notes": self._seal(notes),
            "fields": [
                {"type": HIDDEN, "name": self._seal(word), "value": self._seal(value), "linkedId": None}
                for word, value in (fields or {}).items()
            ],
            "passwordHistory": [],
        }
        if login:
            known = {"username": self._seal(username), "password": self._seal(password)}
            entry["login"] = {**known, "uris": [], "uri": None, "totp": None, "passwordRevisionDate": None}
        else:
            entry["secureNote"] = {"type": 0}
        self.items.append(entry)
        return str(entry["id"])

    def keys(self) -> dict[str, Any]:
        """The pair of keys, as the profile and the login have it."""
        pair = {"wrappedPrivateKey": self.private_key, "publicKey": self.public_key}
        return {"publicKeyEncryptionKeyPair": {**pair, "signedPublicKey": None}, "securityState": None}

    def token(self) -> dict[str, Any]:
        """The answer to a login."""
        now = int(time.time())
        claims = {"nbf": now, "exp": now + 7200, "iss": "stand-in|login", "sub": self.id, "premium": True}
        claims |= {"name": "Admin", "email": self.email, "email_verified": True, "amr": ["Application"]}
        claims |= {"scope": ["api", "offline_access"], "sstamp": self.id, "device": "stand-in"}
        parts = ({"alg": "HS256", "typ": "JWT"}, claims)
        text = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        return {
            "access_token": f"{text}.c3RhbmQtaW4",
            "expires_in": 7200,
            "token_type": "Bearer",
            "refresh_token": "stand-in",
            "PrivateKey": self.private_key,
            "Key": self.key,
            "Kdf": 0,
            "KdfIterations": ROUNDS,
            "KdfMemory": None,
            "KdfParallelism": None,
            "ResetMasterPassword": False,
            "ForcePasswordReset": False,
            "scope": "api offline_access",
            "AccountKeys": self.keys(),
            "UserDecryptionOptions": {
                "HasMasterPassword": True,
                "MasterPasswordUnlock": {
                    "Kdf": {"KdfType": 0, "Iterations": ROUNDS, "Memory": None, "Parallelism": None},
                    "MasterKeyEncryptedUserKey": self.key,
                    "MasterKeyWrappedUserKey": self.key,
                    "Salt": self.email,
                },
                "Object": "userDecryptionOptions",
            },
        }

    def sync(self) -> dict[str, Any]:
        """The whole vault."""
        profile = {
            "_status": 0,
            "accountKeys": self.keys(),
            "id": self.id,
            "name": "Admin",
            "email": self.email,
            "emailVerified": True,
            "premium": True,
            "premiumFromOrganization": False,
            "culture": "en-US",
            "twoFactorEnabled": False,
            "key": self.key,
            "privateKey": self.private_key,
            "securityStamp": self.id,
            "organizations": [],
            "providers": [],
            "providerOrganizations": [],
            "forcePasswordReset": False,
            "avatarColor": None,
            "usesKeyConnector": False,
            "creationDate": DATE,
            "object": "profile",
        }
        empty: dict[str, list[Any]] = {"folders": [], "collections": [], "policies": [], "sends": []}
        return {
            **empty,
            "profile": profile,
            "ciphers": self.items,
            "domains": None,
            "userDecryption": None,
            "object": "sync",
        }


class StandIn:
    """The server."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.url = ""
        self.gone = False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Drop every connection before it is answered, while this lasts."""
        self.gone = True
        try:
            yield
        finally:
            self.gone = False

    def answer(self, path: str, form: Mapping[str, str], token: str) -> tuple[int, Any]:
        """The answer to a request: status and JSON."""
        account = self.account
        if path == "/identity/connect/token":
            return self._login(form)
        for_all = {
            "/identity/accounts/prelogin": self._prelogin(),
            "/identity/accounts/prelogin/password": self._prelogin(),
            "/api/config": self._config(),
        }
        if path in for_all:
            return 200, for_all[path]
        if not token:
            return 401, {"message": "Unauthorized"}
        if path == "/api/sync":
            return 200, account.sync()
        if path == "/api/accounts/revision-date":
            return 200, int(time.time() * 1000)
        return 404, {"error": {"code": 404, "reason": "Not Found"}}

    def _prelogin(self) -> dict[str, Any]:
        kdf = {"kdf": 0, "kdfIterations": ROUNDS, "kdfMemory": None, "kdfParallelism": None}
        return {
            **kdf,
            "kdfSettings": {"kdfType": 0, "iterations": ROUNDS},
            "salt": self.account.email,
        }

    def _login(self, form: Mapping[str, str]) -> tuple[int, Any]:
        given = (form.get("username"), form.get("password"))
        right = (self.account.email, self.account.password_hash)
        if form.get("grant_type") == "password" and given != right:
            wrong = "Username or password is incorrect. Try again"
            return 400, {"message": wrong, "errorModel": {"message": wrong, "object": "error"}}
        return 200, self.account.token()

    def _config(self) -> dict[str, Any]:
        places = {"vault": self.url, "api": f"{self.url}/api", "identity": f"{self.url}/identity"}
        return {
            "version": "2026.6.0",
            "server": {"name": "A stand-in of Vaultwarden", "url": self.url},
            "environment": {**places, "notifications": self.url, "sso": "", "cloudRegion": None},
            "featureStates": {},
            "object": "config",
        }


def _handler(server: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            if server.gone:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            token = self.headers.get("Authorization", "")
            status, body = server.answer(urlsplit(self.path).path, form, token)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(server: StandIn, certificate: Path) -> Iterator[StandIn]:
    """Serve on loopback with TLS; `certificate`: a PEM file with key and certificate."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    server.url = f"https://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
