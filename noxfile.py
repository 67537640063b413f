"""The finders' tests under the oldest and the newest transformers that are promised.

    pip install nox && nox            # both
    nox -s segment-4.57               # one

groundingdino-py is installed without its dependencies: it asks for ``opencv-python``, which overwrites the headless
OpenCV, and for a ``supervision`` that nothing here uses.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
VERSIONS = {"4.57": "transformers>=4.57,<4.58", "5": "transformers>=5,<6"}
GROUNDINGDINO = ("addict", "yapf", "pycocotools")  # what groundingdino-py imports, beside timm and what the core has


@nox.session
@nox.parametrize("version", list(VERSIONS), ids=list(VERSIONS))
def segment(session: nox.Session, version: str) -> None:
    """tests/segment with one version of transformers, and with groundingdino-py."""
    session.install("-e", ".[test]", VERSIONS[version], *GROUNDINGDINO)
    session.install("--no-deps", "groundingdino-py==0.4.0")
    session.run("python", "-m", "pytest", "-n", "auto", "tests/segment", *session.posargs)
