import time

import shm_protocol


class AgeError(ValueError):
    data = {"least": 0, "most": 130}  # noqa: RUF012  # what travels with the error


@shm_protocol.expose(name="form.check")
def check(person: dict[str, float]) -> str:
    if person["age"] > 130:
        raise AgeError(f"{person['age']} is no age")
    return "fine"


@shm_protocol.expose(name="form.report")
def report() -> str:
    time.sleep(60)
    return "done"


if __name__ == "__main__":
    shm_protocol.serve()
