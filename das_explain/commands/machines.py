"""On which machines a command runs: options of ``sfd``, ``segment`` and ``gate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from das_explain.commands.help import RUNNING

if TYPE_CHECKING:
    from das_explain.engines.cluster import Cluster


@dataclass(frozen=True)
class Machines:
    """On which machines; what is hidden here, ``das-explain help machines`` tells."""

    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            rich_help_panel=RUNNING,
            help="Here, or on many (das-explain help machines).",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            rich_help_panel=RUNNING,
            hidden=True,
            help="The cluster; RAY_ADDRESS, else a Ray of one's own on this machine, unless given.",
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=RUNNING,
            hidden=True,
            help="Actors: processes that hold the models; as many as the cluster has room for unless given.",
        ),
    ] = None
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=RUNNING,
            hidden=True,
            help="GPUs of an actor, 0.5 for two on one; 1 where there are any unless given.",
        ),
    ] = None
    cpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="N",
            rich_help_panel=RUNNING,
            hidden=True,
            help="Processors of an actor, half of which decode photos; 4, or its GPU's share, unless given.",
        ),
    ] = None

    def cluster(self) -> Cluster | None:
        """What is asked of the cluster; ``None`` on this machine. Raises ``UsageError``."""
        from das_explain.engines import check_engine
        from das_explain.engines.cluster import Cluster

        check_engine(self.engine)
        cluster = Cluster(self.ray_address, self.concurrency, self.gpus_per_actor, self.cpus_per_actor)
        cluster.check(self.engine)
        return cluster if self.engine == "ray" else None
