"""The crash matrix: a victim is struck by a signal at a moment, under verified load, and the rest must take it well.

`python -m tests.chaos` runs it; matrix.py says what there is to run, report.py what is promised of it.
"""
