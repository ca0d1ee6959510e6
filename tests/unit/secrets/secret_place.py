"""A secrets file and its identity in a temporary directory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hearth.secrets import SecretStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass
class Place:
    """Where the files are; `open()` is another process's view of them."""

    root: Path
    notices: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.root / "inventory" / "secrets.age"

    @property
    def identity(self) -> Path:
        return self.root / "config" / "age.key"

    def open(self, **environ: str) -> SecretStore:
        return SecretStore(self.file, self.identity, environ, lambda: NOW, self.notices.append)
