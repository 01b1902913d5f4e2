"""The gateway as commands see it: JSON over HTTP, and an exit code for each way to fail.

No retries: a person who reads "does not answer" decides himself, and a submit has its
`--idempotency-key` for saying the same twice.
"""

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from infra.exits import CommandFailed, Exit

_TIMEOUT_SECONDS = 30.0
_CODES = {
    400: Exit.USAGE,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    413: Exit.USAGE,
    415: Exit.USAGE,
    422: Exit.USAGE,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


class Gateway:
    """One gateway (or the balancer before several)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandFailed(Exit.USAGE, f"DUEQ_URL={url!r} is not an http URL with a host")
        self._url = url
        self._secure = parts.scheme == "https"
        self._netloc = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")

    @classmethod
    def here(cls) -> "Gateway":
        """The one that DUEQ_URL, or the `dueq up` beside us, names."""
        from infra.settings import load_settings

        return cls(load_settings().url)

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The JSON answer; `query` members that are None or empty are left out."""
        asked = {name: value for name, value in (query or {}).items() if value not in (None, [])}
        suffix = f"?{urlencode(asked, doseq=True)}" if asked else ""
        return self._ask("GET", path + suffix)

    def text(self, path: str) -> str:
        """An answer that is plain text."""
        return self._content("GET", path, headers={"Accept": "text/plain"}).decode(errors="replace")

    def post(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None,
        patience: float = 0,
    ) -> Any:  # fmt: skip
        """The JSON answer; `patience` is how many seconds longer than usual it may take."""
        return self._ask("POST", path, body, headers, patience)

    def patch(self, path: str, change: object, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer to a JSON Merge Patch."""
        media = {"Content-Type": "application/merge-patch+json"}
        return self._ask("PATCH", path, change, {**media, **(headers or {})})

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Delete what is there."""
        self._ask("DELETE", path, None, headers)

    def _ask(
        self, method: str, path: str, body: object = None,
        headers: Mapping[str, str] | None = None, patience: float = 0,
    ) -> Any:  # fmt: skip
        content = self._content(method, path, body, headers, patience)
        try:
            return json.loads(content) if content else None
        except ValueError:
            text = "the answer is not JSON: is this a DueQ gateway?"
            raise CommandFailed(Exit.FAILED, text) from None

    def _content(
        self, method: str, path: str, body: object = None,
        headers: Mapping[str, str] | None = None, patience: float = 0,
    ) -> bytes:  # fmt: skip
        sent = json.dumps(body).encode() if body is not None else None
        described = {"Content-Type": "application/json", "Accept": "application/json"}
        described |= headers or {}
        kind = HTTPSConnection if self._secure else HTTPConnection
        try:
            connection = kind(self._netloc, timeout=_TIMEOUT_SECONDS + patience)
            try:
                connection.request(method, self._prefix + path, sent, described)
                response = connection.getresponse()
                return _read(response)
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise CommandFailed(Exit.UNREACHABLE, self._unreachable(error)) from None

    def _unreachable(self, error: Exception) -> str:
        why = str(error) or type(error).__name__
        return (
            f"the gateway at {self._url} does not answer: {why}\n"
            "Start everything with `dueq up`, or name another gateway in DUEQ_URL."
        )


def path(collection: str, name: str, rest: str = "") -> str:
    """The route of one thing in a collection."""
    return f"/api/{collection}/{quote(name, safe='')}{rest}"


def _read(response: HTTPResponse) -> bytes:
    """The content of a good answer; of a bad one the problem is raised."""
    content = response.read()
    if response.status >= 400:
        code = _CODES.get(response.status, Exit.FAILED)
        raise CommandFailed(code, _problem(response, content))
    return content


def _problem(response: HTTPResponse, content: bytes) -> str:
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    problem = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    return in_words(problem, f"{response.status} {response.reason}")


def in_words(problem: Mapping[str, Any], otherwise: str) -> str:
    """An RFC 9457 problem: title and detail, and a line for each flaw that is not the detail.

    The gateway's detail is often the flaws one after the other: then they are told once.
    """
    title, detail = problem.get("title") or otherwise, problem.get("detail")
    errors = problem.get("errors") or []
    flaws = [f"{flaw.get('pointer') or '/'}: {flaw.get('detail')}" for flaw in errors]
    if detail and len(flaws) != 1 and detail == "; ".join(flaws):
        detail = f"{len(flaws)} things are wrong"
    elif detail and flaws == [detail]:
        flaws = []
    head = f"{title}: {detail}" if detail else str(title)
    return "\n  ".join([head, *flaws])
