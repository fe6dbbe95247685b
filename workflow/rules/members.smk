# What the rules of fleets need to know of their members.


def fleet_on_this_machine(fleet):
    return any(on_this_machine(name) for name in PROJECT.fleets[fleet].devices)


def fleet_threads(wildcards):
    return workflow.cores if fleet_on_this_machine(wildcards.fleet) else 0


def fleet_resources():
    """Each member's device, and this machine where members are on it."""
    taken = {
        f"device_{name}": lambda wildcards, name=name: int(
            name in PROJECT.fleets[wildcards.fleet].devices
        )
        for name in PROJECT.devices
    }
    machine = lambda wildcards: (
        ALL_OF_IT if fleet_on_this_machine(wildcards.fleet) else 1
    )
    return {**taken, "this_machine": machine}


def members_runs(wildcards):
    """Every run that a fleet's members did alone."""
    members = PROJECT.fleets[wildcards.fleet].devices
    return run_files(
        "parquet/{run}/run.parquet",
        [run for run in PROJECT.measured_runs if run.device in members],
    )


def network_file(wildcards):
    measured = PROJECT.fleets[wildcards.fleet].links.source == "measured"
    return [f"results/networks/{wildcards.fleet}.json"] if measured else []


def network_word(wildcards):
    return network_file(wildcards) or "none"


def plan_inputs(wildcards):
    """What the planner goes by; a plan of one's own needs nothing measured."""
    if PROJECT.fleets[wildcards.fleet].plan:
        return []
    scenario = PROJECT.scenario_files(PROJECT.experiment.scenarios[0])
    by_carbon = PROJECT.fleets[wildcards.fleet].objective == "carbon"
    return [
        *members_runs(wildcards),
        *network_file(wildcards),
        *(scenario if by_carbon else []),
    ]


def planner_network(wildcards):
    own = PROJECT.fleets[wildcards.fleet].plan
    return "none" if own else network_word(wildcards)
