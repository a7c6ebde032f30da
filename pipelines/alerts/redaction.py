"""What no message carries: passwords in addresses, and values of variables that are secrets."""

from __future__ import annotations

import os
import re

HIDDEN = "[hidden]"
#: Passwords of addresses, and values behind words that announce one.
PATTERNS = (
    re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"(?i)\b((?:password|passwd|secret|token|api_?key)\s*[=:]\s*)\S+"),
)
NAMES = re.compile(r"(?i)password|secret|token|_key$|credential")
#: Shorter values would hide words.
LEAST = 6


def redacted(text: str) -> str:
    """The text without secrets, as far as they can be told."""
    for name, value in os.environ.items():
        if NAMES.search(name) and len(value) >= LEAST:
            text = text.replace(value, HIDDEN)
    for pattern in PATTERNS:
        text = pattern.sub(lambda m: (m.group(1) if m.groups() else "") + HIDDEN, text)
    return text
