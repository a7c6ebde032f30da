"""A canary in the place of every secret: whoever finds one has found a leak."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Begins what is planted; long enough not to occur by itself.
CANARY = "cAnArY7q"
FERNET = base64.urlsafe_b64encode(b"cAnArY7q" * 4).decode()


def canaries() -> dict[str, str]:
    """The environment's secrets, a canary each: passwords, tokens, keys, addresses."""
    names = (
        "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY", "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET", "CROSSIMPACT_APPROVER_PASSWORD", "AWS_SECRET_ACCESS_KEY",
        "POSTGRES_PASSWORD", "REDIS_PASSWORD",
    )  # fmt: skip
    planted = {name: f"{CANARY}-{name.lower()}-{'x' * 48}" for name in names}
    address = f"postgresql+psycopg2://metrics:{CANARY}-db@127.0.0.1:1/airflow"
    return planted | {
        "MLFLOW_TRACKING_USERNAME": "crossimpact",
        "AIRFLOW__CORE__FERNET_KEY": FERNET,
        "CROSSIMPACT_AIRFLOW_DB": address,
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{CANARY}-broker@127.0.0.1:1/0",
        "AIRFLOW_CONN_DESK": f"postgres://desk:{CANARY}-connection@127.0.0.1:1/desk",
    }


def encodings() -> Iterator[bytes]:
    """As a canary may come out: as it is, in base64 at any offset, in hex, in UTF-16."""
    plain = CANARY.encode()
    yield plain
    yield FERNET[:20].encode()
    yield plain.hex().encode()
    yield CANARY.encode("utf-16-le")
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + plain)
        yield coded[4 * bool(before) : -4]


def leaks(content: bytes) -> bool:
    """Whether a canary is in it."""
    return any(coded in content for coded in encodings())


def leaking(folder: Path, contents: Mapping[str, bytes] | None = None) -> list[str]:
    """Files of a folder, and named contents, that hold a canary; names count, too."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    found = [name for name, path in files.items() if leaks(name.encode() + path.read_bytes())]
    return found + [name for name, content in (contents or {}).items() if leaks(content)]
