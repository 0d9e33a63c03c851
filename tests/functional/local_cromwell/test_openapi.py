"""Our own OpenAPI of the local Cromwell, and that nothing made after it is answered 500."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from ruamel.yaml import YAML

from dropwell_local.cromwell import openapi

from .conftest import Cromwell

schema = schemathesis.openapi.from_dict(openapi.document())
schema.config.phases.coverage.enabled = False  # ten times as many requests
bounded = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def known(waiting: Cromwell) -> str:
    return waiting.submit("version 1.0\nworkflow w {}")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@schema.parametrize()
@bounded
def test_nothing_is_answered_500(
    case: schemathesis.Case, waiting: Cromwell, session: requests.Session
) -> None:
    answer = case.call(base_url=waiting.url, session=session, timeout=20)

    assert answer.status_code < 500 or expected(case, answer), answer.text


@schema.include(path_regex=r"/\{id\}/").parametrize()
@bounded
def test_nothing_is_answered_500_of_a_workflow_that_there_is(
    case: schemathesis.Case, waiting: Cromwell, session: requests.Session, known: str
) -> None:
    case.path_parameters = {"version": "v1", "id": known}
    answer = case.call(base_url=waiting.url, session=session, timeout=20)

    assert answer.status_code < 500 or expected(case, answer), answer.text


def expected(case: schemathesis.Case, answer: schemathesis.Response) -> bool:
    """Return whether it is a route not offered, or the 500 that Cromwell itself gives."""
    if answer.status_code == 501:
        return "501" in case.operation.definition.raw["responses"] or (
            "describes no workflow by its URL" in answer.text
        )
    no_id = answer.json()["message"].startswith("Invalid workflow ID")
    return bool(no_id and case.method.upper() == "PATCH" and case.path.endswith("/labels"))


def test_the_document_is_served_to_people_and_programs(waiting: Cromwell) -> None:
    told = waiting.http.get(f"{waiting.url}/swagger/openapi.json").json()
    same = waiting.http.get(f"{waiting.url}/swagger/cromwell.yaml")
    page = waiting.http.get(f"{waiting.url}/", follow_redirects=True)

    assert told == openapi.document()
    assert YAML(typ="safe", pure=True).load(same.text) == told
    assert page.url.path == "/swagger"
    assert "/api/workflows/{version}/{id}/status" in page.text


def test_every_route_of_the_document_is_there(waiting: Cromwell) -> None:
    for path, operations in openapi.document()["paths"].items():
        url = waiting.url + path.format(version="v1", id=uuid.uuid4())
        for method in operations:
            answer = waiting.http.request(method, url)
            assert answer.status_code != 405, (method, path)
            assert answer.text != "The requested resource could not be found.", (method, path)
