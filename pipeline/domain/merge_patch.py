"""JSON Merge Patch (RFC 7396): how a user changes what was written before. Pure."""

from typing import Any


def merged(value: Any, patch: Any) -> Any:
    """RFC 7396: objects member by member, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), change)
    return result
