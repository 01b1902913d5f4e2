"""The URL of a server, as far as it can be judged without asking the server.

What is said of a bad one never quotes it: in `amqp://me:pa/ss@host` a reader of URLs takes half of
the password for the port.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

_ENCODE = "percent-encode what is special in a user name or password (/ ? # @ :)"


def require_usable(url: str, schemes: Collection[str]) -> str:
    """The URL; raises `ValueError` for a wrong scheme, no host or a bad port of any of its hosts.

    `mongodb://` may name several hosts, by commas. `unix://` names a socket's path instead.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(f"it must start with {' or '.join(f'{each}://' for each in schemes)}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"its host is no address; {_ENCODE}") from None
    if scheme == "unix":
        _require_path(parts.path)
        return url
    if "@" in parts.path:
        raise ValueError(f"there is an @ behind its host; {_ENCODE}")
    for host in parts.netloc.rpartition("@")[2].split(","):
        _require_host(host)
    return url


def require_encoded_user(url: str) -> str:
    """The URL; raises `ValueError` if its user and password are not as MongoDB's drivers ask."""
    user = urlsplit(url).netloc.rpartition("@")[0]
    if "@" in user or user.count(":") > 1:
        raise ValueError(f"its user or password cannot be told apart from the rest; {_ENCODE}")
    return url


def _require_path(path: str) -> None:
    if path in ("", "/"):
        raise ValueError("it names no socket")


def _require_host(host: str) -> None:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"its port is no number from 1 to 65535; {_ENCODE}") from None
    if not name:
        raise ValueError("it names no host")
    if port == 0:
        raise ValueError("its port is 0, where no server listens")
