"""Draw every chart, as SVG for a paper and as HTML that works offline."""

from itertools import chain
from pathlib import Path

from edgecarbon import charts, script, store


def main(args):
    args.out.mkdir(parents=True, exist_ok=True)
    with store.connect(args.database, read_only=True) as database:
        for name, entry in charts.CHARTS.items():
            charts.save(entry.draw(database), args.out / f"{name}.svg", args.out / f"{name}.html")
        for name, _, chart in chain(charts.fleet_charts(database), charts.decision_charts(database)):
            charts.save(chart, args.out / f"{name}.svg", args.out / f"{name}.html")


if __name__ == "__main__":
    script.run(main, database=Path, out=Path)
