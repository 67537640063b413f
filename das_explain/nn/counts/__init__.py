"""Parameters and operations, truly and as the papers count."""
