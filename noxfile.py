"""The finders' tests under the oldest transformers that is promised, the last before 5, and the newest.

    pip install nox && nox            # all
    nox -s segment-4.57               # one

groundingdino-py is installed without its dependencies: it asks for ``opencv-python``, which overwrites the headless
OpenCV, and for a ``supervision`` that nothing here uses. The rest of what it imports is in the extra ``test``.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
VERSIONS = {"4.51": "transformers>=4.51,<4.52", "4.57": "transformers>=4.57,<4.58", "5": "transformers>=5,<6"}


def segment(session: nox.Session, wanted: str) -> None:
    """tests/segment with one version of transformers, and with groundingdino-py."""
    session.install("-e", ".[test]", wanted)
    session.install("--no-deps", "groundingdino-py==0.4.0")
    session.run("python", "-m", "pytest", "-n", "auto", "tests/segment", *session.posargs)


for name, wanted in VERSIONS.items():
    nox.session(lambda session, wanted=wanted: segment(session, wanted), name=f"segment-{name}")
