"""What a call costs: the bridge beside the floors and the other ways between two processes. `python -m bench --help`."""
