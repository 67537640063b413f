"""The networks that attention is built into."""
