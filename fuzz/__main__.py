"""`python -m fuzz`: coverage-guided fuzzing of the C core and of the decoders of both languages.

Each target is fuzzed in turn, from the inputs in fuzz/corpora on and from those found here before (build/fuzz). What is
looked for: a crash, a hang, a read beyond the message, memory without bound, an error that is none of the protocol's.
"""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fuzz import corpora, decoders
from fuzz.compare import compare
from fuzz.engines import ATHERIS, BUILD, HERE, ROOT, CannotRun, run
from fuzz.running import Outcome, count, execute, fuzz
from fuzz.targets import TARGETS, Target

SECONDS: Final = 10
TOTALS: Final = BUILD / "executions.json"

COMMANDS: Final = """
other commands:
  python -m fuzz setup                  install Python's fuzzer, beside the project's own packages
  python -m fuzz keep [TARGET ...]      minimise what was found here into fuzz/corpora, to be committed
  python -m fuzz replay TARGET FILE     run one input again, as after a finding
  python -m fuzz compare [MUTATIONS]    give the decoders' inputs, and so many mutations of each, to both languages

exit codes: 0; 1 a finding; 2 bad usage, or a fuzzer is missing; 130 Ctrl-C, with what was done until then
"""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; give the exit code."""
    match list(arguments):
        case ["setup"]:
            return _guarded(setup)
        case ["keep", *patterns]:
            return _guarded(lambda: keep(_matching(patterns)))
        case ["replay", name, file]:
            return _guarded(lambda: replay(_matching([name])[0], Path(file)))
        case ["compare", *mutations]:
            return _guarded(lambda: compare(int(mutations[0]) if mutations else 0))
    parsed = _parser().parse_args(arguments)
    targets = _matching(parsed.targets)
    if parsed.list:
        for target in targets:
            print(f"{target.name:18} {target.about}")
        return 0
    limit = f"-max_total_time={parsed.seconds}" if parsed.executions is None else f"-runs={parsed.executions}"
    return fuzz_all(targets, limit)


def fuzz_all(targets: Sequence[Target], limit: str) -> int:
    """Each in turn, and a line about each."""
    # Also in the background, where a shell has SIGINT ignored: the fuzzer must not outlive this.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    print(f"{'target':18} {'executions':>12} {'per second':>11} {'coverage':>9} {'all in all':>13}", flush=True)
    code = 0
    for target in targets:
        try:
            target.engine.prepare()
        except CannotRun as error:
            print(f"{target.name:18} not run: {error}")
            code = code or 2
            continue
        except KeyboardInterrupt:
            # While the target was being built.
            print("interrupted")
            return 1 if code == 1 else 130
        outcome = fuzz(target, [limit])
        total = _count(target, outcome.executions)
        print(
            f"{target.name:18} {outcome.executions:12,} {outcome.per_second:11,} {outcome.coverage:9,} {total:13,}",
            flush=True,
        )
        if outcome.failed:
            _report(target, outcome)
            code = 1
        if outcome.interrupted:
            print("interrupted")
            return 1 if code == 1 else 130
    return code


def setup() -> int:
    """Install Atheris, from its lock file."""
    shutil.rmtree(ATHERIS, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--target", str(ATHERIS))
    run(*pip, "-r", str(HERE / "requirements.lock"))
    return 0


def keep(targets: Sequence[Target]) -> int:
    """To each corpus the fewest inputs that reach what all do, under each fuzzer that has it. What was kept stays: some
    of it was made by hand.
    """
    for corpus in dict.fromkeys(target.corpus for target in targets):
        # All of them, also if only one was asked for: what one fuzzer has no use for another may need.
        sharing = [target for target in TARGETS if target.corpus == corpus]
        kept = set(corpora.read(corpus))
        found = kept.union(*(corpora.pack(target.inputs) for target in sharing if target.inputs.is_dir()))
        for target in sharing:
            kept |= _added(target, kept, found)
        is_decoded = corpus in decoders.CHECKS
        corpora.write(corpus, {data: decoders.recorded(corpus, data) if is_decoded else "" for data in kept})
        print(f"{corpora.path_of(corpus).relative_to(ROOT)}: {len(kept)} inputs of {len(found)}")
    return 0


def replay(target: Target, file: Path) -> int:
    """One input again. Exit code 1 if it still breaks something."""
    target.engine.prepare()
    log = BUILD / target.name / "replay"
    log.parent.mkdir(parents=True, exist_ok=True)
    code, _ = execute(target, [file.resolve(strict=True)], [], log)
    print(log.read_text(errors="replace"))
    print(f"{file}: " + ("nothing wrong" if code == 0 else f"still a finding (exit code {code})"))
    return 0 if code == 0 else 1


def _added(target: Target, kept: set[bytes], found: set[bytes]) -> set[bytes]:
    """What is kept, and the fewest of what was found that reach more."""
    target.engine.prepare()
    folder = BUILD / target.name / "minimising"
    shutil.rmtree(folder, ignore_errors=True)
    corpora.unpack(found, folder / "found")
    corpora.unpack(kept, folder / "kept")
    code, _ = execute(target, [folder / "kept", folder / "found"], ["-merge=1"], folder / "log")
    if code != 0:
        raise CannotRun(f"{target.name}: its corpus cannot be minimised: see {folder / 'log'}")
    return corpora.pack(folder / "kept")


def _report(target: Target, outcome: Outcome) -> None:
    print(f"\nA finding. {target.name} said:\n{outcome.said}\n")
    if outcome.finding is None:
        print(f"The fuzzer kept no input: see {BUILD / target.name / 'log'}")
        return
    file = outcome.finding.relative_to(ROOT)
    print(f"The input is in {file}. To run it again:\n  python -m fuzz replay {target.name} {file}")
    print(f"When it is mended, keep it as a line of {corpora.path_of(target.corpus).relative_to(ROOT)}:")
    print(f"  {outcome.finding.read_bytes().hex()}")


def _count(target: Target, executions: int) -> int:
    """All executions of a target on this machine, with these."""
    return count(TOTALS, target.name, executions)


def _matching(patterns: Sequence[str]) -> list[Target]:
    """The targets of these names or patterns, or all. Ends the program where there is none."""
    targets = [
        target for target in TARGETS if not patterns or any(fnmatch.fnmatch(target.name, name) for name in patterns)
    ]
    if not targets:
        names = ", ".join(target.name for target in TARGETS)
        print(f"no target matches {' '.join(patterns)}; there are {names}", file=sys.stderr)
        raise SystemExit(2)
    return targets


def _guarded(command: Callable[[], int]) -> int:
    """Run it; say what is missing, if anything."""
    try:
        return command()
    except CannotRun as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("targets", nargs="*", metavar="TARGET", help="names or patterns, e.g. 'core-*'; default: all")
    much = made.add_mutually_exclusive_group()
    much.add_argument("--seconds", type=int, default=SECONDS, metavar="N", help=f"of each target (default {SECONDS})")
    much.add_argument("--executions", type=int, metavar="N", help="of each target, instead of seconds")
    made.add_argument("--list", action="store_true", help="print the targets and exit")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
