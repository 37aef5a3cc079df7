"""Faults ordered on purpose: `python -m tests.chaos --seed N --rows 1,2`, or `make chaos`."""
