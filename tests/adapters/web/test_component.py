"""The web component: its answers over ASGI, from messages of a fake bus."""

import asyncio
import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.web.assets import PAGE_HEADERS
from broker.errors import Rejected
from broker.message import Message
from tests.adapters.http.fakes import Answer, FakeBus, call, running
from tests.adapters.web.test_overview import OFFLINE, state, stats
from tests.adapters.web.world import new_web

HOST = {"host": "localhost"}


def get(path: str, *messages: Message, there: bool = True, **headers: str) -> Answer:
    async def ask() -> Answer:
        web, bus = new_web(), FakeBus()
        bus.there = there
        for each in messages:
            assert web.on_message(each, 0.0) == []
        async with running(web._watch.run(bus)):
            return await call(web.app, "GET", path, {**HOST, **headers})

    return asyncio.run(ask())


def test_health_is_200_or_503_with_the_reason() -> None:
    well = get("/health", state("heating"))
    assert (well.status, json.loads(well.body)["status"]) == (200, "ok")
    ill = get("/health", state("heating", OFFLINE))
    assert ill.status == 503
    assert json.loads(ill.body)["problems"][0]["text"].startswith("heating is not online")
    assert ill.headers["cache-control"] == "no-store"


def test_health_without_the_broker_is_503() -> None:
    answer = get("/health", there=False)
    assert answer.status == 503
    assert json.loads(answer.body)["broker"]["online"] is False


def test_metrics_are_readable_also_without_the_broker() -> None:
    for there in (True, False):
        answer = get("/metrics", state("heating"), stats(), there=there)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {each.name: each for each in text_string_to_metric_families(answer.body.decode())}
        assert families["scaup_broker_up"].samples[0].value == there
        assert all(name.startswith("scaup_") for name in families)


def test_metrics_are_openmetrics_where_that_is_asked_for() -> None:
    answer = get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def test_the_page_allows_nothing_but_itself() -> None:
    answer = get("/")
    assert answer.status == 200
    assert b"<scaup-app>" in answer.body
    assert re.findall(rb"<script(.*?)>", answer.body) == [b' type="module" src="/static/app.js"']
    assert answer.headers["content-security-policy"] == PAGE_HEADERS["Content-Security-Policy"]


def test_the_document_describes_this_health() -> None:
    document = json.loads(get("/openapi.json").body)
    assert set(document["paths"]) == {"/", "/health", "/metrics", "/openapi.json", "/docs"}
    assert document["paths"]["/health"]["get"]["responses"]["503"]["description"] == "A part of it does not."


def test_a_topic_that_is_not_subscribed_to_is_rejected() -> None:
    with pytest.raises(Rejected, match="nothing is known"):
        new_web().on_message(Message(topic="machines/1/reading", payload=b"{}"), 0.0)
