"""The API as a page for people, and the AMQP side for programs: whole, offline, harmless."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from gateway.api_page import page
from gateway.api_shapes import in_words
from tests.gateway_world import GatewayWorld, gateway_world

LOADS = {"script", "img", "link", "iframe", "object", "embed", "base", "form"}


@pytest.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as made:
        yield made


class Read(HTMLParser):
    """What a browser finds on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.add(tag)
        self.anchors.add(said.get("id") or "")
        self.links.add(said.get("href") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_every_operation_and_every_shape_is_on_the_page_and_every_link_leads_somewhere(
    world: GatewayWorld,
) -> None:
    api = (await world.get("/openapi.json")).json
    answer = await world.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    read = Read(answer.body.decode())
    for path, methods in api["paths"].items():
        assert path in read.text
        for operation in methods.values():
            assert operation["operationId"] in read.anchors
            assert operation["summary"] in read.text
    assert {f"shape-{name}" for name in api["components"]["schemas"]} <= read.anchors
    inside = {link[1:] for link in read.links if link.startswith("#")}
    assert len(inside) > 30
    assert inside <= read.anchors
    outside = {link for link in read.links if link and not link.startswith("#")}
    assert outside == {"openapi.json", "asyncapi.json"}
    for link in outside:
        assert (await world.get(f"/{link}")).status == 200


async def test_the_page_loads_and_runs_nothing(world: GatewayWorld) -> None:
    answer = await world.get("/docs")
    text = answer.body.decode()
    assert Read(text).tags & LOADS == set()
    assert re.search(r"url\(|@import|\son\w+=", text) is None
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_a_description_says_is_shown_and_never_obeyed() -> None:
    evil = "<script>alert(1)</script>"
    schema = {"type": "string", "pattern": evil, "default": evil, "description": evil}
    parameter = {"name": evil, "in": "query", "description": evil, "schema": schema}
    operation: dict[str, Any] = {
        "tags": [evil], "operationId": f'"{evil}', "summary": evil, "description": evil,
        "parameters": [parameter],
        "requestBody": {"content": {evil: {"schema": schema, "example": evil}}},
        "responses": {"200": {"description": evil, "content": {evil: {"example": {"a": evil}}}}},
    }  # fmt: skip
    text = page(
        {
            "info": {"title": evil, "version": evil},
            "paths": {f"/{evil}": {"get": operation}},
            "components": {"schemas": {f'"{evil}': {"properties": {evil: schema}}}},
        }
    )
    read = Read(text)
    assert "script" not in read.tags
    assert read.text.count("alert(1)") > 10


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9, "default": 5},
         "integer, at least <code>0</code>, at most <code>9</code>; default <code>5</code>"),
        ({"type": "integer", "format": "int64", "maximum": 2**63 - 1, "minimum": -(2**63)},
         "integer"),
        ({"anyOf": [{"$ref": "#/components/schemas/Kind"}, {"type": "null"}]},
         '<a href="#shape-Kind">Kind</a> or null'),
        ({"type": "array", "items": {"enum": [1, "b"]}, "maxItems": 3},
         'array of <code>1</code> | <code>&quot;b&quot;</code>, at most <code>3</code>'),
        ({}, "any value"),
    ],
)  # fmt: skip
def test_a_shape_is_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert in_words(schema) == words


async def test_the_amqp_side_is_served_as_it_is_described(world: GatewayWorld) -> None:
    answer = await world.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == world.asyncapi
