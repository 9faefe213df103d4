"""Coverage-guided fuzzing of all that reads what a peer has written: `python -m fuzz`."""
