import os
import re
import sys
import time
from pathlib import Path

# Jobs run the clone's own code, with the Python that runs Snakemake, whether or not its environment is activated.
LIBRARY = Path("lib").resolve()
sys.path.insert(0, str(LIBRARY))
os.environ.update(
    PYTHONPATH=str(LIBRARY),
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    ),
)

from edgecarbon import housekeeping, plan
from edgecarbon.errors import UserError
from edgecarbon.sources import package_files, sources_of


def load_or_stop():
    """The validated project. A mistake in the configuration ends the start here, in plain words."""
    try:
        return plan.load_project(
            workflow.overwrite_configfiles, workflow.config_settings.config
        )
    except UserError as error:
        print(f"{error}\nNothing was run.", file=sys.stderr)
        sys.exit(1)


def run_files(pattern, runs):
    """A file of each run."""
    return [f"results/{pattern}".format(run=run.run_id) for run in runs]


def one_of(names):
    """Wildcard constraint for exactly these names; for none of them, one that nothing matches."""
    return "|".join(map(re.escape, names)) or "(?!)"


def on_this_machine(name):
    """Whether a device's runs take place on the machine that the workflow runs on, as a virtual host's do."""
    device = PROJECT.devices[name]
    return device.transport == "local" or bool(getattr(device, "virtual", None))


def device_resources():
    """One resource a device, of which each job on that device takes the one there is."""
    return {
        f"device_{name}": lambda wildcards, name=name: int(wildcards.device == name)
        for name in PROJECT.devices
    }


def modified(path):
    """When a file that is no input was last written, for a rule's params."""
    return Path(path).stat().st_mtime_ns


def limit(resource, amount):
    """Let jobs take no more of a resource than that, under whatever --cores. Snakemake has no documented call for this."""
    workflow.register_resource(resource, amount)


INPUTS = sorted(
    str(path)
    for path in Path(plan.INPUTS).rglob("*")
    if path.suffix in (".yaml", ".csv")
)
PROJECT = load_or_stop()
RECORDS = run_files("runs/{run}/record.json", PROJECT.runs) + run_files(
    "fleets/{run}/record.json", PROJECT.all_fleet_runs
)
VALIDATIONS = [f"results/validation/{name}/record.json" for name in PROJECT.devices]
ROLES = {name: facts["role"] for name, facts in PROJECT.carbon_facts().items()}
# The resolved configuration, which the scripts read. What a rule uses of it is in the rule's params; all of it would
# send every job back to work at any change.
os.environ.update(
    EDGECARBON_CONFIG=str(plan.write_project(PROJECT, Path("results/configs")))
)

if workflow.is_main_process:
    housekeeping.clear_stale_lock(Path(".snakemake"))
    housekeeping.set_aside_damaged(RECORDS + VALIDATIONS)
    housekeeping.forget_unused(Path("results/cache"))
    if PROJECT.experiment.retry_missing:
        housekeeping.forget_missing(RECORDS + VALIDATIONS)
    os.environ.update(
        EDGECARBON_START=str(time.time()), EDGECARBON_WORKFLOW=str(os.getpid())
    )

# One job at a time uses a device; and none that waits for another machine runs beside one that measures this machine.
ALL_OF_IT = 1000
limit("this_machine", ALL_OF_IT)
for device in PROJECT.devices:
    limit(f"device_{device}", 1)


def start_virtual_hosts():
    """The virtual hosts of the fleet. Whatever ends this process ends them."""
    from edgecarbon.dispatch import FLEET
    from edgecarbon.fleet import virtual

    try:
        return virtual.start(PROJECT.virtual_hosts(), FLEET)
    except UserError as error:
        print(f"{error}\nNothing was run.", file=sys.stderr)
        sys.exit(1)


stand = []


onstart:
    if PROJECT.virtual_hosts():
        stand.append(start_virtual_hosts())


onsuccess:
    for hosts in stand:
        hosts.stop()
    housekeeping.tell_missing(RECORDS)


onerror:
    for hosts in stand:
        hosts.stop()


wildcard_constraints:
    workload=one_of(PROJECT.experiment.workloads),
    fleet=one_of(PROJECT.fleets),
    scenario=one_of(PROJECT.experiment.scenarios),
    repeat="[0-9]+",
