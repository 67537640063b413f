"""How many actors a cluster has room for, and what is said where it has none; no Ray is needed for that."""

from __future__ import annotations

import pyarrow as pa
import pytest

from das_explain.engines.actor import RESTARTS, Actor, row_of
from das_explain.engines.cluster import Cluster, Layout, Node, _reason
from das_explain.engines.counter import Counter
from das_explain.engines.pieces import by_piece, in_order
from das_explain.errors import DasExplainError, UsageError

SMALL, LARGE, BOX = Node(2, 0), Node(16, 0), Node(64, 8)


def test_a_cluster_without_gpus_has_an_actor_for_every_four_processors() -> None:
    assert Cluster().lay_out([LARGE, LARGE], 100) == Layout(8, 4, 0)
    assert Cluster().lay_out([LARGE, SMALL], 100) == Layout(4, 4, 0)
    assert Cluster().lay_out([SMALL], 100) == Layout(1, 2, 0)


def test_a_gpu_has_an_actor_and_its_share_of_the_processors() -> None:
    assert Cluster().lay_out([BOX, BOX], 100) == Layout(16, 8, 1)
    assert Cluster().lay_out([BOX, SMALL], 100) == Layout(8, 8, 1)
    assert Cluster(gpus=0.5).lay_out([BOX], 100) == Layout(16, 4, 0.5)
    assert Cluster().lay_out([BOX], 100, on_cpu=True) == Layout(16, 4, 0)


def test_there_are_no_more_actors_than_pieces_or_than_were_asked_for() -> None:
    assert Cluster().lay_out([LARGE], 3).actors == 3
    assert Cluster(concurrency=2).lay_out([LARGE], 3).actors == 2


def test_fractions_of_a_processor_fit() -> None:
    assert Cluster(concurrency=10, cpus=0.1).lay_out([Node(1, 0)], 100) == Layout(10, 0.1, 0)
    assert Cluster(cpus=0.3).lay_out([Node(1, 0)], 100).actors == 3


def test_actors_that_would_be_waited_for_without_end_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--concurrency 3: the cluster \(2 CPUs\) has room for 2 actors of 1 CPUs;"):
        Cluster(concurrency=3, cpus=1).lay_out([SMALL], 100)
    with pytest.raises(
        UsageError, match=r"no machine of the cluster \(2 CPUs \+ 2 CPUs\) has room for an actor of 3 CPUs"
    ):
        Cluster(cpus=3).lay_out([SMALL, SMALL], 100)
    with pytest.raises(UsageError, match="of 1 CPUs and 1 GPUs: give fewer --gpus-per-actor"):
        Cluster(gpus=1).lay_out([SMALL], 100)


def test_what_is_asked_of_a_cluster_needs_one() -> None:
    Cluster("head:6379", 2, 0.5, 1).check("ray")
    Cluster().check("local")
    with pytest.raises(UsageError, match="--cpus-per-actor goes with --engine ray, not with local"):
        Cluster(cpus=1).check("local")
    with pytest.raises(UsageError, match=r"--gpus-per-actor 1\.5: a share of one GPU, or whole ones"):
        Cluster(gpus=1.5).check("ray")


def test_a_table_comes_back_as_it_was_with_its_metadata() -> None:
    table = pa.table({"maps": [[1.0, 2.0], None]}).replace_schema_metadata({b"das-explain": b"{}"})
    row = row_of(3, "node", table).to_pylist()[0]
    assert (row["number"], row["node"], row["error"]) == (3, "node", "")
    assert pa.ipc.open_stream(row["table"]).read_all().equals(table, check_metadata=True)


def test_progress_is_told_piece_by_piece_where_it_is_news() -> None:
    told: list[tuple[str, int, int]] = []
    progress, finding = by_piece({7: "abc", 9: "de"}, lambda *each: told.append(each))
    for done in (2, 4, 4, 5):
        progress(done, 5)
    finding(5, 5)
    assert told == [
        ("progress", 7, 2), ("progress", 7, 3), ("progress", 9, 1), ("progress", 9, 2), ("finding", 7, 3), ("finding", 9, 2),
    ]  # fmt: skip


def test_pieces_that_come_in_any_order_are_handed_on_in_theirs() -> None:
    made = in_order(iter([(2, "ef"), (0, "ab"), (1, "cd"), (3, "")]))
    assert "".join(made) == "abcdef"


def test_a_piece_that_is_made_again_counts_once() -> None:
    counter = Counter()
    for number, done in ((0, 4), (1, 2), (0, 1), (0, 5)):
        counter.tell("progress", number, done)
    assert counter.sums() == {"progress": 7, "finding": 0}


class _Remote:
    """A method of an actor, called here."""

    def __init__(self, method) -> None:
        self.remote = method


def test_an_actor_that_dies_again_and_again_at_the_same_gives_up() -> None:
    counter, actor = Counter(), Actor.__new__(Actor)
    actor.counter, actor.get = type("_", (), {"die": _Remote(counter.die)}), lambda value: value
    for _ in range(RESTARTS + 1):
        actor._try(3, "making part 3", RESTARTS)
        actor._try(5, "making part 5", 1000)
    with pytest.raises(DasExplainError, match="died again and again while making part 3, probably for lack of memory"):
        actor._try(3, "making part 3", RESTARTS)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            '\x1b[36mray::MapBatches(f)()\x1b[39m (pid=1, ip=2)\n  File "a.py", line 4, in f\n    raise TypeError(x)\nTypeError: bad: x\n'
            "\nThe above exception was the direct cause of the following exception:\n\nray::MapBatches(f)() (pid=1)\n"
            "ray.exceptions.UserCodeException: UDF failed.\nTo change retry attempts, configure this.",
            "TypeError: bad: x",
        ),
        ('ray::g() (pid=1)\n  File "a.py"\ntorch.OutOfMemoryError: no room\nmore', "torch.OutOfMemoryError: no room"),
        ("The actor died.\nIts node has gone.", "Its node has gone."),
        ("", "Exception"),
    ],
)
def test_of_a_workers_tracebacks_the_innermost_error_is_told(told: str, reason: str) -> None:
    assert _reason(Exception(told)) == reason
