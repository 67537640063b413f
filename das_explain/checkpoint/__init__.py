"""From a model spec to a network that is ready to be explained."""
