"""Every value of PROTOCOL.md section 8 crosses twice each way and comes back the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy
import pytest
import shm_protocol
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INTEGERS = st.integers(-(2**63), 2**64 - 1)
# An integral float comes back as an int, which is equal; -0.0 and NaN are looked at below.
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text() | st.binary(max_size=64)
KEYS = st.none() | INTEGERS | st.text() | st.binary(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(), inner, max_size=5)
        | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=30,
)


def through_both(node: shm_protocol.Client, value: Any) -> Any:
    """Python → TypeScript → Python → TypeScript → Python."""
    return node.call("driver.attempt", "worker.echo", [value])["value"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_any_value_comes_back_equal_after_two_crossings_each_way(node: shm_protocol.Client, value: Any) -> None:
    assert through_both(node, value) == value


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, "object null"),
        (True, "boolean true"),
        (2**53 - 1, f"number {2**53 - 1}"),
        (2**53, f"bigint {2**53}"),
        (-(2**63), f"bigint {-(2**63)}"),
        (2**64 - 1, f"bigint {2**64 - 1}"),
        (1.5, "number 1.5"),
        (-0.0, "number -0"),
        (math.inf, "number Infinity"),
        (math.nan, "number NaN"),
        ("ünï 😀", "string ünï 😀"),
        (b"\0\xff", "Uint8Array"),
        (bytearray(b"x"), "Uint8Array"),
        ((1, 2), "Array"),
        ({"a": 1}, "Object"),
        ({1: "a"}, "Map"),
        (datetime(2026, 1, 1, tzinfo=UTC), "Date"),
        (numpy.zeros(3, numpy.uint8), "Uint8ClampedArray"),
        (numpy.zeros(3, numpy.float64), "Float64Array"),
        (numpy.zeros((2, 2), numpy.int64), "NdArray"),
    ],
    ids=str,
)
def test_typescript_sees_the_type_that_the_table_promises(node: shm_protocol.Client, value: Any, seen: str) -> None:
    described = node.call("functions.describe", value)
    assert described == seen


def test_nan_and_negative_zero_survive(node: shm_protocol.Client) -> None:
    nan, zero = through_both(node, [math.nan, -0.0])
    assert math.isnan(nan)
    assert math.copysign(1, zero) == -1


def test_python_sees_the_types_that_the_table_promises_of_typescripts_specials(node: shm_protocol.Client) -> None:
    *values, nan, mapping, with_undefined = node.call("functions.specials")
    assert values == [None, 0.0, 2**53 - 1, 2**63, -(2**63)]
    assert [type(value) for value in values] == [type(None), float, int, int, int]
    assert math.copysign(1, values[1]) == -1
    assert math.isnan(nan)
    assert mapping == {1: "one"}
    assert with_undefined == {"absent": None}


def test_an_aware_datetime_arrives_in_utc_with_its_milliseconds(node: shm_protocol.Client) -> None:
    local = datetime(2026, 3, 1, 12, 0, 0, 123456, timezone(timedelta(hours=5, minutes=30)))
    back = through_both(node, local)
    assert back == datetime(2026, 3, 1, 6, 30, 0, 123000, UTC)
    assert back.tzinfo is UTC


def test_a_naive_datetime_is_refused_with_its_path(node: shm_protocol.Client) -> None:
    with pytest.raises(shm_protocol.EncodeError, match=r"args\[0\]\.when.*naive"):
        node.call("functions.echo", {"when": datetime(2026, 1, 1)})  # noqa: DTZ001


@pytest.mark.parametrize("dtype", shm_protocol.values.ARRAY_DTYPES)
@pytest.mark.parametrize("shape", [(0,), (7,), (2, 3), (), (2, 0, 3)], ids=str)
def test_an_array_keeps_dtype_shape_and_elements(node: shm_protocol.Client, dtype: str, shape: tuple[int, ...]) -> None:
    sent = (numpy.arange(math.prod(shape)) + 250 - 125).astype(dtype).reshape(shape)
    back = through_both(node, sent)
    assert (back.dtype, back.shape) == (sent.dtype, sent.shape)
    assert numpy.array_equal(back, sent)
