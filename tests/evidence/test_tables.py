"""The writer of a run's tables: what is missing is an empty cell, whatever pandas calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from das_explain.evidence.tables import TableWriter, write_table


def test_what_is_missing_is_an_empty_cell(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "float": [0.123456789, np.nan],
            "whole": pd.array([7, None], "Int64"),
            "truth": pd.array([True, None], "boolean"),
            "text": pd.array(["a,b", None], "str"),
            "category": pd.Categorical(["x", None]),
            "object": np.array(["y", None], object),
            "odd": np.array([pd.NA, float("nan")], object),
        }
    )
    write_table(tmp_path / "frame.csv", table)
    with TableWriter(tmp_path / "arrays.csv", list(table.columns)) as writer:
        writer.add({name: table[name].astype(object).to_numpy() for name in table.columns} | {"float": table["float"]})
    for name in ("frame", "arrays"):
        assert (tmp_path / f"{name}.csv").read_text().splitlines() == [
            "float,whole,truth,text,category,object,odd",
            '0.123457,7,True,"a,b",x,y,',
            ",,,,,,",
        ]
