"""Runs programs side by side in the foreground: brings back one that dies, and ends all when asked to.

A terminal's Ctrl-C reaches the supervisor alone, which then ends the programs in order; a second one kills. A
supervisor that is killed takes them with it. It sleeps until there is output, a signal or something due.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Final, Self

from .backoff import MAX_QUICK_ENDS, QUICK_END_S, Backoff
from .ports import Address, url
from .side import CannotStart, Program, Side, how_it_ended
from .side_output import Lines, Output

START_TIMEOUT_S: Final = 60.0
"""How long a side may take to become ready; after that it is taken for running."""
STOP_GRACE_S: Final = 15.0
"""How long a side may take to end after SIGTERM before it is killed: longer than gunicorn takes by our settings."""
TOLD_AFTER_S: Final = 5.0
"""A side that is not ready for so long: what it waits for is told."""
LOOK_EVERY_S: Final = 1.0
"""How often a side is looked at for ports that it has opened, at first; the longer it runs, the seldomer."""
TICK_S: Final = 0.1


class SideFailed(Exception):
    """Why the programs cannot be run, or run no longer. code: the exit code to end with. lines: the last of the one
    that has ended.
    """

    def __init__(self, message: str, lines: Lines | None = None, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
        self._lines = lines

    def told(self) -> str:
        """The message, with what the side said last where that cannot be read right above."""
        return f"{self}{self._lines.reason() if self._lines is not None else ''}"


class StopRequested(Exception):
    """A signal has asked for the end, or nobody reads the output any more."""


class Signals:
    """Those that ask for the end, counted: the first ends the programs, the second kills them."""

    STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.requests = 0

    def __enter__(self) -> Self:
        self._woken, self._waking = os.pipe()
        for descriptor in (self._woken, self._waking):
            os.set_blocking(descriptor, False)
        self._wakeup_before = signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        # Whoever runs this with nohup means it.
        numbers = [one for one in self.STOPPING if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]
        self._before = {one: signal.signal(one, self._on_request) for one in numbers}
        # Without a handler of Python's nothing is written to the pipe.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._woken)
        os.close(self._waking)

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._woken

    def drain(self, descriptor: int) -> None:
        """Forget what has woken."""
        with suppress(BlockingIOError):
            os.read(descriptor, 1 << 12)

    def _on_request(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1


class _Kept:
    """A program that is to run, with its run of the moment."""

    def __init__(self, program: Program, output: Output) -> None:
        self.program = program
        self.lines = Lines(program.name, output)
        self.side: Side | None = None
        self.backoff = Backoff()
        self.has_been_ready = False
        self.started_at = 0.0
        self.has_told_wait = False
        self.ready_at: float | None = None
        self.looked_at = 0.0
        self.told: set[Address] = set()
        # Since when its remains are being ended, and when it is started again.
        self.ended_at: float | None = None
        self.due_at: float | None = None

    def look_due_at(self) -> float:
        """When it is looked at for ports again."""
        return self.looked_at + max(LOOK_EVERY_S, (self.looked_at - self.started_at) / 20)


class Supervisor:
    """Programs, from the first start to the end of the last."""

    def __init__(self, programs: Sequence[Program], output: Output, signals: Signals, *, restart: bool) -> None:
        self._output = output
        self._signals = signals
        self._restart = restart
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals.fileno(), selectors.EVENT_READ, signals.drain)
        self._kept = [_Kept(program, output) for program in programs]

    def run(self, when_ready: Callable[[], None]) -> None:
        """Start them one after the other, each once the one before is ready; call `when_ready` once all are, and
        return when asked to end, all having ended. Raises SideFailed, all having ended as well.
        """
        try:
            for kept in self._kept:
                self._start(kept)
                while not kept.has_been_ready:
                    self._turn()
            when_ready()
            while True:
                self._turn()
        except StopRequested:
            pass
        finally:
            self._end()

    def _turn(self) -> None:
        """Wait for something to happen, and do what is due."""
        self._wait(self._until_due())
        if self._signals.requests or self._output.is_gone:
            raise StopRequested
        for kept in self._kept:
            if kept.side is None:
                if kept.due_at is not None and time.monotonic() >= kept.due_at:
                    self._start(kept)
            elif kept.ended_at is not None:
                self._clear(kept, kept.side, kept.ended_at)
            elif kept.side.has_ended():
                self._on_end(kept, kept.side)
            else:
                self._look_at(kept, kept.side)

    def _until_due(self) -> float | None:
        """Seconds to sleep at most; None: until something happens."""
        if self._output.is_gone:
            return 0.0
        now = time.monotonic()
        waits = []
        for kept in self._kept:
            if kept.side is None:
                waits += [kept.due_at - now] if kept.due_at is not None else []
            elif kept.ended_at is not None or kept.ready_at is None:
                waits.append(TICK_S)
            elif kept.program.tells_urls:
                waits.append(kept.look_due_at() - now)
        return max(0.0, min(waits)) if waits else None

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            # Another's turn may have closed it.
            if key.fd in self._selector.get_map():
                key.data(key.fd)

    def _start(self, kept: _Kept) -> None:
        kept.lines.forget()
        kept.ready_at = kept.ended_at = kept.due_at = None
        kept.started_at = time.monotonic()
        kept.has_told_wait = False
        try:
            kept.side = Side(kept.program, kept.lines, self._selector)
        except CannotStart as error:
            raise SideFailed(str(error)) from None

    def _look_at(self, kept: _Kept, side: Side) -> None:
        now = time.monotonic()
        if kept.ready_at is None:
            name = kept.program.name
            is_late = now - kept.started_at > START_TIMEOUT_S
            if not is_late and not side.is_ready():
                if not kept.has_told_wait and now - kept.started_at > TOLD_AFTER_S:
                    kept.has_told_wait = True
                    self._output.say(f"{name} is not ready yet: {kept.program.unready}")
                return
            if is_late:
                self._output.say(f"{name} is not ready after {START_TIMEOUT_S:.0f} s: {kept.program.unready}")
            elif kept.has_been_ready:
                self._output.say(f"{name} is back")
            kept.ready_at, kept.has_been_ready, kept.looked_at = now, True, 0.0
        if kept.program.tells_urls and now >= kept.look_due_at():
            kept.looked_at = now
            for address in side.addresses():
                if address not in kept.told:
                    kept.told.add(address)
                    self._output.say(f"{kept.program.name} serves {url(address)}")

    def _on_end(self, kept: _Kept, side: Side) -> None:
        """The program has ended by itself. Raises SideFailed where it is not to be started again."""
        now = time.monotonic()
        # What it said last comes before what is said of it.
        self._wait(0)
        kept.lines.finish()
        how = how_it_ended(kept.program.name, side.exit_code())
        if not self._restart:
            raise SideFailed(how, kept.lines, 0 if side.exit_code() == 0 else 1)
        if not kept.has_been_ready:
            # Who has failed has said why.
            why = f" ({kept.program.unready})" if side.exit_code() == 0 else ""
            raise SideFailed(f"{how} before it was ready{why}", kept.lines)
        delay = kept.backoff.after_end(0.0 if kept.ready_at is None else now - kept.ready_at)
        if delay is None:
            raise SideFailed(
                f"{kept.program.name} will not stay up: {MAX_QUICK_ENDS} times in a row it ended within "
                f"{QUICK_END_S:.0f} s; the last time {how}",
                kept.lines,
            )
        self._output.say(f"{how}; it is started again in {delay:g} s")
        kept.ended_at, kept.due_at = now, now + delay
        side.terminate()

    def _clear(self, kept: _Kept, side: Side, ended_at: float) -> None:
        """What a program has left behind ends before it is started again: it may have its port, or half its memory."""
        if side.is_gone() or time.monotonic() - ended_at > STOP_GRACE_S:
            side.finish()
            kept.side = None

    def _end(self) -> None:
        """End the programs, the last started first, so that none sees its peer go."""
        enough = self._signals.requests + 1
        for kept in reversed(self._kept):
            side = kept.side
            if side is None:
                continue
            deadline = time.monotonic() + STOP_GRACE_S
            side.terminate()
            has_ended = side.has_ended()
            while not side.is_gone() and self._signals.requests < enough:
                if not has_ended and side.has_ended():
                    has_ended = True
                    side.terminate()
                if time.monotonic() > deadline:
                    self._output.say(
                        f"{kept.program.name} has not ended {STOP_GRACE_S:.0f} s after SIGTERM: it is killed"
                    )
                    break
                self._wait(TICK_S)
            side.finish()
            kept.side = None
