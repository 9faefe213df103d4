"""When a side that has ended is started again."""

from shm_protocol.cli.backoff import MAX_QUICK_ENDS, QUICK_END_S, Backoff


def test_the_delay_doubles_with_each_quick_end_until_the_last() -> None:
    backoff = Backoff()
    assert [backoff.after_end(0.0) for _ in range(MAX_QUICK_ENDS)] == [0.5, 1.0, 2.0, 4.0, None]


def test_who_has_served_for_long_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(MAX_QUICK_ENDS - 1):
        backoff.after_end(0.0)
    assert backoff.after_end(QUICK_END_S) == 0.5
    assert [backoff.after_end(0.0) for _ in range(2)] == [0.5, 1.0]


def test_a_side_that_dies_now_and_then_is_always_brought_back() -> None:
    backoff = Backoff()
    assert {backoff.after_end(QUICK_END_S) for _ in range(100)} == {0.5}
