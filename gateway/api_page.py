"""The API as a page for people: made from the OpenAPI document, so it says what that says.

One file of HTML without any script, image or font: it needs nothing but the gateway. Pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from gateway.api_shapes import in_words, shape

Node = Mapping[str, Any]
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Sent with the page: nothing in it may load or run anything, whatever a description says."""
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1b1f24;background:#fff}
h2{margin-top:2.5rem;text-transform:capitalize}a{color:#0550ae}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f4f5f7;padding:.6rem;overflow-x:auto;border-radius:4px}
details{border-top:1px solid #d5d9de;padding:.4rem 0}details details{border:0}
summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;
padding:.25rem .8rem .25rem 0;border-bottom:1px solid #e7eaee}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}a{color:#79b8ff}
pre{background:#20252b}details{border-color:#39414a}td,th{border-color:#2a3037}}
"""


def page(api: Node) -> str:
    """The whole document."""
    title = escape(api["info"]["title"])
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title} API</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title} {escape(api['info']['version'])}</h1>",
            '<p>For programs: <a href="openapi.json">openapi.json</a> (HTTP), ',
            '<a href="asyncapi.json">asyncapi.json</a> (AMQP).</p>',
            *_operations(api["paths"]),
            "<h2>Shapes</h2>",
            *(shape(name, each) for name, each in sorted(api["components"]["schemas"].items())),
            "</body></html>",
        )
    )


def _operations(paths: Node) -> Iterator[str]:
    """By tag, in the order in which the tags come."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(path, method, operation))
    for tag, operations in by_tag.items():
        yield f'<h2 id="{escape(tag)}">{escape(tag)}</h2>'
        yield from operations


def _operation(path: str, method: str, operation: Node) -> str:
    name = escape(operation.get("operationId", f"{method}{path}"))
    verb, text = method.upper(), escape(operation.get("summary", ""))
    return "".join(
        (
            f'<details id="{name}"><summary><b>{verb}</b> <code>{escape(path)}</code> ',
            f"{text}</summary>",
            _paragraphs(operation.get("description", "")),
            _parameters(operation.get("parameters", [])),
            _body(operation.get("requestBody")),
            _answers(operation["responses"]),
            "</details>",
        )
    )


def _parameters(parameters: Iterable[Node]) -> str:
    rows = [
        (
            f"<code>{escape(each['name'])}</code>{' (required)' if each.get('required') else ''}",
            escape(each["in"]),
            in_words(each.get("schema", {})),
            escape(each.get("description", "")),
        )
        for each in parameters
    ]
    return _table(("parameter", "in", "is", ""), rows)


def _body(body: Node | None) -> str:
    if body is None:
        return ""
    return "".join(
        f"<p>Body: <code>{escape(media)}</code>, {in_words(content.get('schema', {}))}</p>"
        f"{_example(content)}"
        for media, content in body["content"].items()
    )


def _answers(answers: Node) -> str:
    return "".join(_answer(status, each) for status, each in sorted(answers.items()))


def _answer(status: str, answer: Node) -> str:
    told = f"<b>{escape(status)}</b> {escape(answer.get('description', ''))}"
    content = answer.get("content")
    if not content:
        return f"<p>{told}</p>"
    shown = "".join(
        f"<p><code>{escape(media)}</code>, {in_words(each.get('schema', {}))}</p>{_example(each)}"
        for media, each in content.items()
    )
    return f"<details><summary>{told}</summary>{shown}</details>"


def _example(content: Node) -> str:
    if "example" not in content:
        return ""
    value = content["example"]
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Of cells that are HTML already."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return f"<table><tr>{head}</tr>{body}</table>" if body else ""
