"""What a call costs: the bridge beside the floors and its rivals. `python -m bench --help`."""
