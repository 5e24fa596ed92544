"""The name of a config is its content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .._checks import invalid
from ._files import check_json

Config = dict[str, Any]


def key(config: Config) -> str:
    """Name a config by its content: the SHA-256 of its canonical JSON.

    Canonical means keys sorted at every level and no spaces, so that the order in which a dict was
    built does not matter. ``1`` and ``1.0`` are two configs; a tuple counts as the list it is
    written as.

    Args:
        config: a dict of JSON values.

    Returns:
        64 hexadecimal digits.

    Raises:
        InvalidInput: if ``config`` is no dict or holds what JSON cannot give back (nan included).

    Example:
        >>> key({"seed": 0, "method": "ldt"}) == key({"method": "ldt", "seed": 0})
        True
    """
    if not isinstance(config, dict):
        raise invalid("config", "a dict of JSON values", config)
    check_json("config", config)
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
