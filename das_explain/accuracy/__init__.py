"""How often classifiers are right, how precise detectors are."""
