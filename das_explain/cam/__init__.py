"""Class activation maps: this project's own engine, and other methods through pytorch-grad-cam."""
