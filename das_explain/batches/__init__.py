"""Photos to batches: decoding ahead of the networks, in worker processes, in a fixed order."""
