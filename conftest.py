"""For every test of this repository."""

import signal

from hypothesis import HealthCheck, settings

# The same examples in each run, or a test would fail by luck; `pytest --hypothesis-profile=new-examples` looks for
# others. Neither an example that takes long nor one that is long in the making is a failure: the machine may be busy.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new-examples", _patient)
settings.register_profile("same-examples", _patient, derandomize=True)
settings.load_profile("same-examples")

# What a shell runs in its background ignores Ctrl-C, and so would whatever a test starts there and ends by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
