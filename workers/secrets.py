"""Named secrets, as this worker knows them: a variable of its environment, or a file.

`DUEQ_SECRET_<NAME>`, else the file `<NAME>` in `DUEQ_SECRETS_DIR`. Looked up anew for each attempt,
so that a file that was replaced counts from the next one on. What was looked up for a request is
`Revealed`, which takes it out of everything that is reported about that request.
"""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from pipeline.domain.errors import DueQError
from pipeline.domain.secret import HIDDEN, SecretRef

PREFIX = "DUEQ_SECRET_"
_FOLDER = "DUEQ_SECRETS_DIR"
_LONGEST = 8 * 1024
_TELLING = 4
"""Characters of a line of a secret that is hidden alone: braces and the like stand everywhere."""
_FOR_HTML = re.compile("[<>&]")
_PLAIN_TO_SCRIPTS = "!*'()"
"""What JavaScript leaves as it is in a URL."""


class NoSuchSecret(DueQError):
    """This worker does not know it, or it is none; another worker, or an operator, may help."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"secret {name}: {why}")


class Secrets:
    """Looks secrets up."""

    def __init__(self, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._environment = environment
        self._folder = folder

    def reveal(self, reference: SecretRef) -> str:
        """What it is, without a line end at the end. Raises `NoSuchSecret`."""
        name = reference.secret
        value = self._environment.get(PREFIX + name)
        if value is None:
            value = self._from_file(name)
        value = value.rstrip("\r\n")
        if not value:
            raise NoSuchSecret(name, "is empty")
        if not _is_text(value):
            raise NoSuchSecret(name, "is no text")
        return value

    def _from_file(self, name: str) -> str:
        if self._folder is None:
            raise NoSuchSecret(name, f"this worker has no {PREFIX}{name}, and no {_FOLDER}")
        try:
            with (self._folder / name).open("rb") as file:
                data = file.read(_LONGEST + 1)
            if len(data) > _LONGEST:
                raise NoSuchSecret(name, f"is longer than {_LONGEST} bytes")
            return data.decode()
        except UnicodeDecodeError:
            raise NoSuchSecret(name, "is no text") from None
        except OSError as error:
            neither = f"and no such file in {_FOLDER} that it can read ({error.strerror})"
            raise NoSuchSecret(name, f"this worker has no {PREFIX}{name}, {neither}") from None


class Revealed:
    """The secrets of one request: what it may never be told of."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._forms: set[bytes] = set()  # in small letters

    def __call__(self, reference: SecretRef) -> str:
        """What it is. Raises `NoSuchSecret`."""
        value = self._secrets.reveal(reference)
        self.hide(value)
        return value

    def hide(self, value: str) -> None:
        """Take this out of what is reported, and how it looks in JSON, base64, URLs and HTML.

        In any case of ASCII letters: the name of a host is written small, a `%2f` as one likes.
        """
        for part in _parts(value):
            self._forms |= {form.lower() for form in _looks(part)}

    def without(self, data: bytes) -> bytes:
        """`data` with none of them in it."""
        small = data.lower()
        there = [form for form in self._forms if form in small]
        if not there:
            return data
        longest_first = sorted(there, key=len, reverse=True)
        any_of_them = b"|".join(map(re.escape, longest_first))
        return re.sub(any_of_them, HIDDEN.encode(), data, flags=re.IGNORECASE)

    def without_start(self, data: bytes) -> bytes:
        """`data`, which was cut off, without the start of one at its end.

        Before `without`, which would take a part of such a one for a whole one, and leave the rest.
        """
        return data[: _length_without_start(data.lower(), self._forms)]

    def without_end(self, data: bytes) -> bytes:
        """`data`, of which the front was cut off, without the end of one at its start."""
        backwards = [form[::-1] for form in self._forms]
        return data[len(data) - _length_without_start(data[::-1].lower(), backwards) :]

    def without_cut(self, data: bytes, before: int) -> bytes:
        """`data`, with none of them in it: `before` it there were so many bytes, more will come."""
        data = self.without_start(data)
        return self.without(self.without_end(data) if before else data)

    def without_in(self, text: str) -> str:
        """The same of text."""
        return self.without(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _is_text(value: str) -> bool:
    """A variable of the environment may be bytes that are none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parts(value: str) -> set[str]:
    """It, and the lines of it that say something: programs write one before each of a key's lines.

    Each of them also as who reads UTF-8 as Latin-1 has it, which is what a header once was.
    """
    lines = {line.strip() for line in value.splitlines()}
    parts = {value, *(line for line in lines if len(line) >= _TELLING)}
    return parts | {part.encode().decode("latin-1") for part in parts}


def _looks(value: str) -> set[bytes]:
    """As receivers write what they were sent; in JSON some put a backslash before a slash, or write
    what HTML reads by its number."""
    plain = value.encode()
    in_json = [json.dumps(value, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)]
    in_html = html.escape(value)
    texts = [
        *in_json,
        *(text.replace("/", "\\/") for text in in_json),
        *(_FOR_HTML.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text) for text in in_json),
        quote(value, safe=""),
        quote(value, safe=_PLAIN_TO_SCRIPTS),
        quote_plus(value),
        in_html,
        in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    ]
    encoded = [b64encode(plain), urlsafe_b64encode(plain)]
    unpadded = [each.rstrip(b"=") for each in encoded]
    return {plain, *(text.encode() for text in texts), *encoded, *unpadded}


def _length_without_start(data: bytes, forms: Collection[bytes]) -> int:
    """How long `data` is without the start of a form at its end.

    That start may stand in a whole one, which goes with it: nobody would know the rest for one.
    """
    length = len(data) - max((_overlap(data, form) for form in forms), default=0)
    while (begin := min((_across(data, length, form) for form in forms), default=length)) < length:
        length = begin
    return length


def _overlap(data: bytes, form: bytes) -> int:
    """How much of the start of `form` stands at the end of `data`."""
    end = data[len(data) - min(len(data), len(form) - 1) :]
    at = end.find(form[:1])
    while at >= 0 and not form.startswith(end[at:]):
        at = end.find(form[:1], at + 1)
    return len(end) - at if at >= 0 else 0


def _across(data: bytes, at: int, form: bytes) -> int:
    """Where a whole `form` begins that ends behind `at`; `at` if there is none."""
    begin = data.find(form, max(0, at - len(form) + 1), at + len(form) - 1)
    return at if begin < 0 else begin
