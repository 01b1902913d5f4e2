"""What is sent for an attempt of an http job, and what becomes of it on a redirect.

The job's own headers first, ours over them: what fences an attempt cannot be forged. Credentials
are revealed here, and never leave the origin that they are meant for.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from hmac import new as hmac_of
from urllib.parse import quote, urlencode

from pydantic_core import to_json
from yarl import URL

from pipeline.domain.errors import DueQError
from pipeline.domain.http_work import FRAMING, Fields, HttpAuth, HttpWork
from pipeline.domain.job import Job
from pipeline.domain.secret import SecretRef, is_sensitive
from workers.executors.fence import fence_headers, is_fence
from workers.secrets import NoSuchSecret, Revealed

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_A_BODY = frozenset({"content-encoding", "content-language", "content-location", "content-type"})
_SIGNATURE = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
_OF_A_URL = "!$&'()*+,;=:@/?%[]"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Refused(DueQError):
    """This request is not sent; the same one never will be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `private` are the headers, in lower case, that no other origin gets."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None
    private: frozenset[str]

    def redirected(self, status: int, location: str) -> "HttpRequest":
        """What to ask next; raises `Refused`. As browsers do (WHATWG Fetch, HTTP-redirect fetch).

        Towards another origin credentials and signature stay behind, and they do not come back.
        """
        url = _target_of(self.url, location)
        drops_body = status == 303 or (status in (301, 302) and self.method == "POST")
        method = "GET" if drops_body and self.method not in ("GET", "HEAD") else self.method
        dropped: frozenset[str] = frozenset()
        if method != self.method:
            dropped |= _OF_A_BODY | _SIGNATURE  # it signed the body
        if url.origin() != self.url.origin():
            dropped |= self.private
        return replace(
            self,
            method=method,
            url=url,
            headers={n: v for n, v in self.headers.items() if n.lower() not in dropped},
            body=self.body if method == self.method else None,
        )


def request_of(job: Job, work: HttpWork, reveal: Revealed, now: datetime) -> HttpRequest:
    """The first request of an attempt; raises `Refused` or `NoSuchSecret`."""
    body, content_type = _body_of(work)
    secret = {name for name, content in work.headers.items() if isinstance(content, SecretRef)}
    signature = _signed(job.id, work.signature, body, reveal, now)
    auth = _credentials(work.auth, reveal)
    ours = fence_headers(job) | signature
    taken = {name.lower() for name in ours}
    headers = {
        name: _text(content, reveal)
        for name, content in work.headers.items()
        if name.lower() not in taken and not is_fence(name)
    }
    _refuse(FRAMING & {name.lower() for name in (*headers, *auth)})
    _refuse({name.lower() for name in auth if name.lower() in taken or is_fence(name)})
    if content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = content_type
    headers |= ours | auth
    private = {*signature, *auth, *secret, *filter(is_sensitive, headers)}
    return HttpRequest(
        work.method,
        _url_of(work),
        headers,
        body,
        frozenset(name.lower() for name in private),
    )


def _refuse(names: Set[str]) -> None:
    if names:
        raise Refused("forbidden_header", f"not yours to set: {', '.join(sorted(names))}")


def _url_of(work: HttpWork) -> URL:
    try:
        url = _as_written(work.url)
        return url.extend_query(list(_pairs(work.query))) if work.query else url
    except ValueError as error:
        raise Refused("invalid_url", str(error)) from None


def _as_written(text: str) -> URL:
    """Path and query byte for byte: receivers may have signed them so, and the library would write
    `%2F` or `%7E` anew. Only what no URL may contain is encoded. Raises `ValueError`."""
    origin, raw = URL(text).origin(), URL(text, encoded=True)
    query = f"?{_encoded(raw.raw_query_string)}" if raw.raw_query_string else ""
    return URL(f"{origin}{_encoded(raw.raw_path)}{query}", encoded=True)


def _encoded(part: str) -> str:
    return quote(part, safe=_OF_A_URL, errors="surrogateescape")


def _pairs(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, content in fields.items():
        for each in content if isinstance(content, list) else [content]:
            yield name, str(each)


def _target_of(here: URL, location: str) -> URL:
    try:
        there = here.join(URL(location, encoded=True))
        url = _as_written(str(there))
    except ValueError:
        raise Refused("forbidden_redirect", "the redirect leads to no URL") from None
    if url.scheme not in ("http", "https") or there.raw_user or there.raw_password:
        raise Refused("forbidden_redirect", "the redirect leads to no http or https URL")
    if here.scheme == "https" and url.scheme == "http":
        raise Refused("forbidden_redirect", "the redirect leads from https to http")
    return url


def _body_of(work: HttpWork) -> tuple[bytes | None, str | None]:
    if work.body_base64 is not None:
        return b64decode(work.body_base64), "application/octet-stream"
    if work.form is not None:
        form = urlencode(list(_pairs(work.form)))
        return form.encode(), "application/x-www-form-urlencoded"
    if work.body is None:
        return None, None
    if isinstance(work.body, str):
        return work.body.encode(), "text/plain; charset=utf-8"
    return to_json(work.body), "application/json"


def _text(content: str | SecretRef, reveal: Revealed) -> str:
    return content if isinstance(content, str) else _line(content, reveal)


def _line(reference: SecretRef, reveal: Revealed) -> str:
    """A secret that goes into a header."""
    value = reveal(reference)
    if _CONTROL.search(value):
        raise NoSuchSecret(reference.secret, "contains a line end or control character")
    return value


def _credentials(auth: HttpAuth | None, reveal: Revealed) -> dict[str, str]:
    if auth is None:
        return {}
    if auth.basic is not None:
        pair = f"{auth.basic.username}:{_line(auth.basic.password, reveal)}"
        reveal.hide(pair)
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    if auth.bearer is not None:
        return {"Authorization": f"Bearer {_line(auth.bearer, reveal)}"}
    assert auth.header is not None
    return {auth.header.name: _line(auth.header.value, reveal)}


def _signed(
    job_id: str, secret: SecretRef | None, body: bytes | None, reveal: Revealed, now: datetime
) -> dict[str, str]:
    """Standard Webhooks 1.0: HMAC-SHA256 of id, timestamp and body, joined by dots.

    One signature for each key: as long as there is an old one beside the new, receivers may know
    either.
    """
    if secret is None:
        return {}
    stamp = str(int(now.timestamp()))
    content = b".".join((job_id.encode(), stamp.encode(), body or b""))
    macs = (hmac_of(key, content, sha256).digest() for key in _keys(secret, reveal))
    return {
        "webhook-id": job_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{b64encode(mac).decode()}" for mac in macs),
    }


def _keys(secret: SecretRef, reveal: Revealed) -> list[bytes]:
    """One, or several with blanks or line ends between them."""
    words = reveal(secret).split()
    try:
        keys = [_key(word.removeprefix("whsec_")) for word in words]
    except ValueError:
        keys = []
    if not all(keys) or not keys:
        raise NoSuchSecret(secret.secret, "is no key of Standard Webhooks: whsec_ and base64")
    for word in words:
        reveal.hide(word)
        reveal.hide(word.removeprefix("whsec_"))
    return keys


def _key(encoded: str) -> bytes:
    return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
