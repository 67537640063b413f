"""Intervals, tests and claims over the tables of a run."""
