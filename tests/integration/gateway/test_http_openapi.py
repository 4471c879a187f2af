"""The OpenAPI document: complete, and its references lead somewhere."""

import json

import pytest

from skep.gateway.problems import PROBLEM_TYPE

pytestmark = pytest.mark.anyio

OPEN = {"/healthz", "/readyz"}


@pytest.fixture
async def document(http):
    return (await http.get("/openapi.json", headers={"Authorization": ""})).json()


def operations(document):
    return [(path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()]


async def test_every_route_is_described_with_its_problems(document):
    for path, method, operation in operations(document):
        place = f"{method} {path}"
        assert operation["summary"], place
        assert operation["description"], place
        assert operation["tags"], place
        responses = operation["responses"]
        assert any(status.startswith("2") for status in responses), place
        expected = {"422", "429", "503"} | (set() if path in OPEN else {"401", "403"})
        assert expected <= responses.keys(), place
        for status, response in responses.items():
            assert response["description"], place
            if status >= "4":
                assert PROBLEM_TYPE in response["content"], place
        for parameter in operation.get("parameters", ()):
            assert parameter["schema"], place


async def test_operation_ids_are_unique_and_links_lead_to_them(document):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    links = [
        link
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert links
    assert {link["operationId"] for link in links} <= set(ids)


async def test_every_reference_leads_somewhere(document):
    def references(part):
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                yield reference
            for each in part.values():
                yield from references(each)
        elif isinstance(part, list):
            for each in part:
                yield from references(each)

    for reference in set(references(document)):
        assert reference.startswith("#/"), reference
        found = document
        for name in reference[2:].split("/"):
            found = found[name]


async def test_bodies_have_examples(document):
    schemas = document["components"]["schemas"]
    for name in ("CellBody", "AnswerBody", "CompleteBody", "InspectBody", "RollbackBody", "ForkBody", "Problem"):
        assert schemas[name]["examples"], name


async def test_nothing_internal_is_in_it(document):
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    assert "skep.gateway" not in text
