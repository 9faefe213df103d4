"""What is called: the same function, on the same argument, in both languages (workload.ts mirrors this file)."""

ARGUMENT = "Hello, World"


def echo(value: object) -> object:
    """Give back the argument: the call itself is what is measured."""
    return value
