"""Downloads to a storage: from a loopback server, checked, refused, failing in their task."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.api.fake.conftest import Call, outcome
from twin.pve import Pve

QCOW2 = b"QFI\xfb" + struct.pack(">I", 3) + bytes(16) + struct.pack(">Q", 5 * 1024**3) + bytes(100)
DOWNLOAD = "/nodes/pve/storage/local/download-url"


@pytest.fixture
def mirror() -> Iterator[str]:
    """A web server on loopback that has one image."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/image.qcow2"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(QCOW2 if found else b"")

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_image_is_fetched_checked_and_becomes_a_disk_of_its_size(
    hearth: Call, pve: Pve, mirror: str
) -> None:
    good = hashlib.sha512(QCOW2).hexdigest()
    asked = {"content": "import", "filename": "new.qcow2", "url": f"{mirror}/image.qcow2"}
    fetched = hearth("POST", DOWNLOAD, checksum__algorithm="sha512", checksum=good, **asked)
    assert outcome(hearth, fetched) == "OK"
    assert pve.content_of("local:import/new.qcow2") == QCOW2
    listed = hearth("GET", "/nodes/pve/storage/local/content", content="import").json()["data"]
    assert {"local:import/new.qcow2"} <= {item["volid"] for item in listed}
    drive = "local-lvm:0,import-from=local:import/new.qcow2"
    hearth("POST", "/nodes/pve/qemu", vmid=100, scsi0=drive)
    assert pve.vm(100).config["scsi0"].endswith("size=5G")
    again = hearth("POST", DOWNLOAD, checksum__algorithm="sha512", checksum=good, **asked)
    assert outcome(hearth, again) == "OK"
    other = hearth("POST", DOWNLOAD, checksum__algorithm="sha512", checksum="0" * 128, **asked)
    assert outcome(hearth, other).startswith("checksum mismatch: got")
    blind = hearth("POST", DOWNLOAD, **asked)
    assert outcome(hearth, blind) == "refusing to override existing file '/var/lib/vz/import/new.qcow2'"


def test_what_fails_in_the_task(hearth: Call, pve: Pve, mirror: str) -> None:
    asked = {"content": "import", "filename": "new.qcow2"}
    wrong = hearth(
        "POST",
        DOWNLOAD,
        url=f"{mirror}/image.qcow2",
        checksum__algorithm="sha256",
        checksum="0" * 64,
        **asked,
    )
    assert outcome(hearth, wrong).startswith("checksum mismatch: got '")
    missing = hearth("POST", DOWNLOAD, url=f"{mirror}/nothing", **asked)
    assert outcome(hearth, missing).startswith("download failed: ERROR 404")
    refused = hearth("POST", DOWNLOAD, url="http://127.0.0.1:9/x", **asked)
    assert (
        outcome(hearth, refused)
        == "download failed: Connecting to 127.0.0.1:9... failed: Connection refused."
    )
    assert "import/new.qcow2" not in pve.storages["local"]["volumes"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"content": "iso", "filename": "a.txt"}, "filename"),
        ({"content": "vztmpl", "filename": "a.iso"}, "filename"),
        ({"content": "import", "filename": "a.iso"}, "filename"),
        ({"content": "iso", "filename": "a.iso", "checksum": "00"}, "checksum-algorithm"),
        ({"content": "rootdir", "filename": "a.iso"}, "content"),
    ],
)
def test_what_is_refused_at_once(hearth: Call, params: dict[str, str], field: str) -> None:
    answer = hearth("POST", DOWNLOAD, url="http://127.0.0.1:9/x", **params)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_the_algorithm_comes_before_the_checksum(hearth: Call) -> None:
    asked = {"content": "iso", "filename": "a.iso", "url": "http://127.0.0.1:9/x"}
    answer = hearth("POST", DOWNLOAD, **asked, checksum="0" * 32, checksum__algorithm="md5")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["checksum-algorithm"]


def test_who_may_download(hearth: Call, pve: Pve) -> None:
    asked = {"content": "iso", "filename": "a.iso", "url": "http://127.0.0.1:9/x"}
    pve.access.custom["Hearth"] -= {"Sys.AccessNetwork"}
    assert hearth("POST", DOWNLOAD, **asked).status_code == 200, "Sys.Modify and Sys.Audit on / are enough"
    pve.access.custom["Hearth"] -= {"Sys.Modify"}
    assert hearth("POST", DOWNLOAD, **asked).status_code == 403


def test_a_storage_that_holds_no_files(hearth: Call) -> None:
    path = "/nodes/pve/storage/local-lvm/download-url"
    answer = hearth("POST", path, content="iso", filename="a.iso", url="http://127.0.0.1:9/x")
    assert answer.status_code == 500
    assert "not a file based storage" in answer.reason
