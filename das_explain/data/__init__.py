"""Photos and where they come from: data specs, drawing a sample, decoding, the geometry of the networks' frames."""
