"""One batch of photos and all models to evidence."""
