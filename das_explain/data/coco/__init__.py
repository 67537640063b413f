"""The one home of COCO's format: reading, writing, run-length encoding."""
