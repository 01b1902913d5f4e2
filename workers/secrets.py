"""Named secrets, as this worker knows them: a variable of its environment, or a file.

`DUEQ_SECRET_<NAME>`, else the file `<NAME>` in `DUEQ_SECRETS_DIR`. Looked up anew for each attempt,
so that a file that was replaced counts from the next one on. What was looked up for a request is
`Revealed`, which takes it out of everything that is reported about that request.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from pipeline.domain.errors import DueQError
from pipeline.domain.secret import HIDDEN, SecretRef

PREFIX = "DUEQ_SECRET_"
_LONGEST = 8 * 1024


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
        return value

    def _from_file(self, name: str) -> str:
        if self._folder is None:
            raise NoSuchSecret(name, f"this worker has no {PREFIX}{name}")
        try:
            with (self._folder / name).open("rb") as file:
                data = file.read(_LONGEST + 1)
            if len(data) > _LONGEST:
                raise NoSuchSecret(name, f"is longer than {_LONGEST} bytes")
            return data.decode()
        except UnicodeDecodeError:
            raise NoSuchSecret(name, "is no text") from None
        except OSError as error:
            why = f"this worker has no {PREFIX}{name}, and no such file ({error.strerror})"
            raise NoSuchSecret(name, why) from None


class Revealed:
    """The secrets of one request: what it may never be told of."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._forms: set[bytes] = set()

    def __call__(self, reference: SecretRef) -> str:
        """What it is. Raises `NoSuchSecret`."""
        value = self._secrets.reveal(reference)
        self.hide(value)
        return value

    def hide(self, value: str) -> None:
        """Take this out of what is reported, and how it looks in JSON and in base64."""
        plain = value.encode()
        self._forms |= {plain, json.dumps(value)[1:-1].encode(), b64encode(plain)}

    def without(self, data: bytes) -> bytes:
        """`data` with none of them in it."""
        for form in sorted(self._forms, key=len, reverse=True):
            data = data.replace(form, HIDDEN.encode())
        return data

    def without_start(self, data: bytes) -> bytes:
        """`data`, which was cut off, without the start of one at its end."""
        cut = max((_overlap(data, form) for form in self._forms), default=0)
        return data[: len(data) - cut]

    def without_end(self, data: bytes) -> bytes:
        """`data`, of which the front was cut off, without the end of one at its start."""
        cut = max((_overlap(data[::-1], form[::-1]) for form in self._forms), default=0)
        return data[cut:]

    def without_cut(self, data: bytes) -> bytes:
        """`data`, cut out of the middle, with none of them in it."""
        return self.without(self.without_end(self.without_start(data)))

    def without_in(self, text: str) -> str:
        """The same of text."""
        return self.without(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _overlap(data: bytes, form: bytes) -> int:
    """How much of the start of `form` stands at the end of `data`."""
    longest = min(len(data), len(form) - 1)
    return next((n for n in range(longest, 0, -1) if data.endswith(form[:n])), 0)
