"""One thread per test process: results are the same everywhere and parallel tests do not fight for cores."""

import torch

torch.set_num_threads(1)
