"""Texts that look like secrets, so that none is written into a pipeline or a log."""

from __future__ import annotations

import logging
import re
from typing import Any

_PATTERNS = (
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),  # access keys of AWS
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\b"),
    re.compile(r"://[^/\s:@]+:[^/\s:@]+@"),  # a password in a URL
    re.compile(r"(?i)\bauthorization:\s*\S+(?:\s+[A-Za-z0-9._~+/=-]{8,})?"),
    re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{16,}"),
    re.compile(r"(?i)\b(?:aws_)?secret_access_key['\"]?\s*[=:]\s*['\"]?[A-Za-z0-9/+=]{16,}"),
    re.compile(r"(?i)\bx-(?:amz|goog)-(?:signature|security-token|credential)=[^&\s]+"),
    re.compile(r"https://hooks\.[a-z.]+/services/\S+"),
)
_NAME = re.compile(r"(?i)(password|passwd|secret|token|api_?key|access_?key|credential|webhook)")
MASK = "***"


def looks_secret(text: str, name: str = "") -> bool:
    """Returns whether a text is, or a variable of this name holds, what nobody should read."""
    if name and text and _NAME.search(name):
        return True
    return any(pattern.search(text) for pattern in _PATTERNS)


def redacted(text: str) -> str:
    """Returns the text with everything that looks like a secret masked."""
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


def without_secrets(tree: Any) -> Any:
    """Returns a copy of a tree of mappings and lists with every text `redacted`."""
    if isinstance(tree, dict):
        return {key: without_secrets(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_secrets(value) for value in tree]
    return redacted(tree) if isinstance(tree, str) else tree


class RedactingFormatter(logging.Formatter):
    """Masks what looks like a secret in every line of a log."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return redacted(super().format(record))
