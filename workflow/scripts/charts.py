"""Draw every chart, as SVG for a paper and as HTML that works offline."""

from itertools import chain
from pathlib import Path

from edgecarbon import charts, script, store

CACHE = Path("results/cache")


def main(args):
    with store.connect(args.database, read_only=True) as database:
        drawn = ((name, entry.draw(database)) for name, entry in charts.CHARTS.items())
        more = (
            (name, chart) for draw in (charts.fleet_charts, charts.decision_charts) for name, _, chart in draw(database)
        )
        charts.save(chain(drawn, more), args.out, CACHE)


if __name__ == "__main__":
    script.run(main, database=Path, out=Path)
