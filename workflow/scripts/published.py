"""Reckon published training jobs again from their stated inputs."""

from pathlib import Path

from edgecarbon import script
from edgecarbon.carbon.jobs import reproduce
from edgecarbon.config.jobs import load_published_jobs
from edgecarbon.store.fleets import write_tables
from edgecarbon.store.schema_jobs import PUBLISHED_TABLES


def main(args):
    rows = [row for job in load_published_jobs(args.jobs).values() for row in reproduce(job, args.out.parent.name)]
    write_tables({"published_jobs": rows}, args.out.parent, PUBLISHED_TABLES)


if __name__ == "__main__":
    script.run(main, jobs=Path, out=Path)
