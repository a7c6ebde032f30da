"""How a message leaves: a webhook's POST, or a command's standard input."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import orjson

from crossimpact.errors import Unavailable
from pipelines.alerts.config import Channel
from pipelines.alerts.message import Message

WAIT_S = 10.0
#: Where a message may go unencrypted: it does not leave the machine.
OWN = {("http", host) for host in ("127.0.0.1", "localhost", "::1")}


def send(channel: Channel, message: Message) -> None:
    """Give a channel a message.

    Raises
    ------
    Unavailable
        When it did not take it; the address stays unsaid, as it may be a secret.
    """
    text = Template(channel.template).substitute(message.fields)
    try:
        if channel.kind == "webhook":
            _post(Path(channel.url_file).read_text(encoding="utf-8").strip(), text, message)
        else:
            subprocess.run(
                channel.command,
                input=text.encode(),
                timeout=WAIT_S,
                check=True,
                capture_output=True,
            )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"channel {channel.name} did not take an alert: {type(error).__name__}",
            "it is sent again by the next `crossimpact alerts send`",
        ) from None


def _post(url: str, text: str, message: Message) -> None:
    address = urlsplit(url)
    if address.scheme != "https" and (address.scheme, address.hostname) not in OWN:
        raise ValueError("no https address")
    body = orjson.dumps({**message.fields, "text": text})
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=WAIT_S):  # noqa: S310 (https, or loopback)
        pass
