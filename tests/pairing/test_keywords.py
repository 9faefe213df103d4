"""Keyword arguments, both ways: by their names in Python, as one object behind the others in TypeScript."""

from __future__ import annotations

import asyncio

import pytest
import shm_protocol
from peers import Pair


def test_a_typescript_function_gets_them_as_one_object_behind_the_others(node: shm_protocol.Client) -> None:
    assert node.call("functions.all", 1, 2, locale="de", kwargs={"timeout": 3}) == [
        1,
        2,
        {"timeout": 3, "locale": "de"},
    ]
    assert list(node.stream("functions.each", 1, locale="de")) == [1, {"locale": "de"}]
    assert node.call("functions.all", kwargs={"__proto__": 1, "1": [None]}) == [{"__proto__": 1, "1": [None]}]


def test_a_typescript_function_gets_no_object_where_there_are_none(node: shm_protocol.Client) -> None:
    assert node.call("functions.all", 1, kwargs={}) == [1]


def test_a_python_function_gets_them_by_their_names(node: shm_protocol.Client) -> None:
    kwargs = {"locale": "de", "timeout": 3, "self": None}
    answer = node.call("driver.attempt", "worker.keywords", ["a"], {"kwargs": kwargs, "timeoutMs": 20_000})
    assert answer == {"value": ["a", "de", {"timeout": 3, "self": None}]}
    assert node.call("driver.collect", "worker.count", [5], 9, 8, {"kwargs": {"start": 3}}) == {"items": [3, 4]}


def test_a_notification_to_python_has_them(pair: Pair, node: shm_protocol.Client) -> None:
    word = f"by name over {pair.transport}"
    node.call("driver.notify", "worker.note", [], {"kwargs": {"value": word}})
    pair.wait_until(
        lambda: word in node.call("driver.attempt", "worker.notes", [])["value"], "the notification has run"
    )


def test_nested_calls_have_them_on_the_way_there_and_back(node: shm_protocol.Client) -> None:
    there = ["functions.callBack", ["worker.keywords", ["a"], {"locale": "de"}]]
    assert node.call("driver.attempt", "worker.call_node", there) == {"value": ["a", "de", {}]}
    back = {"kwargs": {"method": "functions.all", "args": [1], "locale": "fr"}}
    assert node.call("driver.attempt", "worker.call_node", [], back) == {"value": [1, {"locale": "fr"}]}


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ([1], {"locale": "de"}, "echo() got an unexpected keyword argument 'locale'"),
        ([1], {"value": 2}, "echo() got multiple values for argument 'value'"),
    ],
)
def test_a_python_function_without_such_a_parameter_answers_with_its_type_error(
    node: shm_protocol.Client, args: list[int], kwargs: dict[str, object], said: str
) -> None:
    error = node.call("driver.attempt", "worker.echo", args, {"kwargs": kwargs})["error"]
    assert (error["type"], error["message"]) == ("TypeError", said)
    assert node.call("driver.attempt", "worker.echo", [1]) == {"value": 1}


def test_a_value_that_typescript_cannot_encode_is_named_by_its_path(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.RemoteError, match=r"worker\.keywords: kwargs\.limits\[1\]: .* cannot be encoded"):
        node.call("functions.tellUnsendable", "worker.keywords")


def test_an_asyncio_client_sends_them(pair: Pair) -> None:
    async def test() -> None:
        async with await shm_protocol.connect_async(pair.path, transport=pair.transport) as client:
            assert await client.call("functions.all", 1, locale="de") == [1, {"locale": "de"}]
            assert [item async for item in client.stream("functions.each", locale="de")] == [{"locale": "de"}]

    asyncio.run(test())
