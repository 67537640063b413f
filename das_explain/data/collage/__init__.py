"""The embedded photo set: cut-outs and the scenes composed of them."""
