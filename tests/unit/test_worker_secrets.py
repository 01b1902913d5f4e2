"""Where a worker looks for secrets, and what it takes out of what it reports."""

from pathlib import Path

import pytest

from pipeline.domain.secret import SecretRef
from workers.secrets import NoSuchSecret, Revealed, Secrets


def revealed(value: str) -> Revealed:
    """One that has looked up this value."""
    reveal = Revealed(Secrets({"DUEQ_SECRET_A": value}))
    assert reveal(SecretRef(secret="A")) == value
    return reveal


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "no text"),
        (b"x" * 9000, "longer than"),
        (b"\n\n", "empty"),
        (None, r"no such file in DUEQ_SECRETS_DIR that it can read \(No such file or directory\)"),
    ],
)
def test_a_file_that_is_no_secret_is_named_without_its_content(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "A").write_bytes(content)
    with pytest.raises(NoSuchSecret, match=f"secret A: .*{why}") as missing:
        Secrets({}, tmp_path).reveal(SecretRef(secret="A"))
    assert "xxx" not in str(missing.value)


def test_a_file_that_is_there_and_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    with pytest.raises(NoSuchSecret, match=r"that it can read \(Is a directory\)"):
        Secrets({}, tmp_path).reveal(SecretRef(secret="A"))


def test_who_has_no_folder_for_secrets_is_told_so() -> None:
    with pytest.raises(NoSuchSecret, match="no DUEQ_SECRET_A, and no DUEQ_SECRETS_DIR"):
        Secrets({}).reveal(SecretRef(secret="A"))


def test_a_variable_of_another_name_is_no_secret() -> None:
    for environment in ({"A": "1"}, {"DUEQ_SECRET_B": "1"}, {"DUEQ_SECRET_a": "1"}):
        with pytest.raises(NoSuchSecret, match="DUEQ_SECRET_A"):
            Secrets(environment).reveal(SecretRef(secret="A"))


def test_a_variable_of_bytes_that_are_no_text_is_no_secret() -> None:
    """As Python reads them from the environment."""
    with pytest.raises(NoSuchSecret, match="secret A: is no text"):
        Secrets({"DUEQ_SECRET_A": "abc\udcff"}).reveal(SecretRef(secret="A"))


@pytest.mark.parametrize(
    ("value", "data", "expected"),
    [
        ("pass", b"a pass, passes", b"a [redacted], [redacted]es"),
        ("grüße", "x grüße gr\\u00fc\\u00dfe".encode(), b"x [redacted] [redacted]"),
        ("pass", b"cGFzcw==", b"[redacted]"),
        ('"q"', b'\\"q\\" "q"', b"[redacted] [redacted]"),
        ("a/b c", b"a\\/b c a%2Fb%20c a%2Fb+c", b"[redacted] [redacted] [redacted]"),
        ('ü"', '{"a": "ü\\""} ü&quot;'.encode(), b'{"a": "[redacted]"} [redacted]'),
        ("~~~", b"fn5-fn5+", b"[redacted][redacted]"),
        ("passe", b"cGFzc2U= cGFzc2U", b"[redacted] [redacted]"),
        ("red", b"a red one", b"a [redacted] one"),
        ("pass", b"nothing of it", b"nothing of it"),
        ("Pass-1", b"http://pass-1.example", b"http://[redacted].example"),
        ("a/b", b"a%2fb", b"[redacted]"),
        ("(a) b!", b"(a)%20b!", b"[redacted]"),
        ("<a&b>", b"\\u003ca\\u0026b\\u003e \\u003Ca\\u0026b\\u003E", b"[redacted] [redacted]"),
        ("a'b\"", b"a&#39;b&#34; a&#x27;b&quot;", b"[redacted] [redacted]"),
        ("grüße", "grüße".encode().decode("latin-1").encode(), b"[redacted]"),
        ("grüße", b"gr\\u00c3\\u00bc\\u00c3\\u009fe", b"[redacted]"),
    ],
)
def test_a_secret_is_taken_out_however_a_receiver_writes_it(
    value: str, data: bytes, expected: bytes
) -> None:
    assert revealed(value).without(data) == expected


def test_each_line_of_a_secret_is_one_but_braces_and_the_like() -> None:
    reveal = revealed("{\n  user: ada\n  word: pass\n}")
    written = b"{ 1: user: ada\n2:   word: pass\n3: }\n"
    assert reveal.without(written) == b"{ 1: [redacted]\n2:   [redacted]\n3: }\n"
    assert reveal.without(b"> {\n  user: ada\n  word: pass\n}") == b"> [redacted]"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x sec", b"x "),
        (b"x SEC", b"x "),
        (b"x secre", b"x "),
        (b"x secx", b"x secx"),
        (b"", b""),
        (b"x ss", b"x s"),
        (b"secr", b""),
    ],
)
def test_its_start_is_cut_off_where_the_rest_was_not_read(data: bytes, expected: bytes) -> None:
    assert revealed("secret").without_start(data) == expected


@pytest.mark.parametrize("value", ["passp", "abcabc", "aaaa"])
def test_a_whole_one_at_a_cut_is_not_halved(value: str) -> None:
    """Its end is its start over again, and its start its end."""
    reveal, data = revealed(value), value.encode()
    assert reveal.without_start(b"x " + data) == b"x "
    assert reveal.without_end(data + b" x") == b" x"
    assert reveal.without_cut(data + b" x " + data, 1) == b" x "


def test_what_is_not_cut_off_at_its_front_keeps_it() -> None:
    reveal = revealed("-----BEGIN KEY-----\nc2VjcmV0s\n-----END KEY-----")
    assert reveal.without_cut(b"starting\n", 0) == b"starting\n"


def test_what_was_not_looked_up_hides_nothing() -> None:
    reveal = Revealed(Secrets({"DUEQ_SECRET_A": "secret"}))
    assert reveal.without(b"secret") == reveal.without_start(b"secret") == b"secret"
