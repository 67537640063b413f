"""Finders: networks that look for the object, Grounding DINO and SAM in two stacks."""
