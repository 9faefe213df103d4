from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import shm_protocol

CHUNK_ROWS = 20


def run(source: str, target: str) -> Iterator[dict[str, object]]:
    """Sums the sales by country. Gives an event after each step, and the table at the end."""
    rows = 0
    totals = pd.Series(dtype="float64")
    for chunk in pd.read_csv(source, chunksize=CHUNK_ROWS):
        clean = chunk.dropna()
        totals = totals.add((clean["price"] * clean["count"]).groupby(clean["country"]).sum(), fill_value=0)
        rows += len(chunk)
        yield {"step": "read", "rows": rows, "dropped": len(chunk) - len(clean)}
    table = totals.round(2).sort_values(ascending=False)
    table.rename("total").rename_axis("country").to_csv(target)
    yield {"step": "written", "file": Path(target).name, "totals": table.to_dict()}


if __name__ == "__main__":
    shm_protocol.serve(expose={"etl": {"run": run}})
