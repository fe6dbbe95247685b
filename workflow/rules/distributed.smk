# Fleets that train one model together: their network, who does what, the run, its simulation, the tables.


MODELS = [f"results/models/{name}.json" for name in PROJECT.experiment.workloads]
FIRST = next(iter(PROJECT.experiment.workloads))


rule fleet_network:
    input:
        payload="results/payload.pyz",
        model=f"results/models/{FIRST}.json",
        tokens=f"results/tokens/{FIRST}.bin",
        description=f"results/tokens/{FIRST}.json",
    output:
        "results/networks/{fleet}.json",
    log:
        "results/logs/fleet_network/{fleet}.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    threads: fleet_threads
    resources:
        **fleet_resources(),
    params:
        workload=FIRST,
        members=lambda wildcards: plan.fingerprint(
            {"devices": PROJECT.fleets[wildcards.fleet].devices}
        ),
    shell:
        "python workflow/scripts/fleet_network.py --config $EDGECARBON_CONFIG --workload {params.workload}"
        " --fleet {wildcards.fleet} --payload {input.payload} --model {input.model} --tokens {input.tokens}"
        " --attempts results/attempts/networks --logs results/logs/fleet_network/{wildcards.fleet} --out {output} 2> {log}"


rule fleet_plan:
    input:
        sources_of("workflow/scripts/fleet_plan.py"),
        INPUTS,
        MODELS,
        plan_inputs,
    output:
        "results/fleets/{workload}/{fleet}/plan.json",
    log:
        "results/logs/fleet_plan/{workload}/{fleet}.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        network=planner_network,
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.plan_settings(wildcards.workload, wildcards.fleet)
        ),
    shell:
        "python workflow/scripts/fleet_plan.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --fleet {wildcards.fleet} --network {params.network} --out {output} 2> {log}"


rule fleet_forecast:
    input:
        sources_of("workflow/scripts/fleet_forecast.py"),
        INPUTS,
        MODELS,
        members_runs,
        network_file,
        plan="results/fleets/{workload}/{fleet}/plan.json",
        scenario=PROJECT.scenario_files(PROJECT.experiment.scenarios[0]),
    output:
        "results/fleets/{workload}/{fleet}/forecast.json",
    log:
        "results/logs/fleet_forecast/{workload}/{fleet}.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        network=network_word,
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.forecast_settings(wildcards.workload, wildcards.fleet)
        ),
    shell:
        "python workflow/scripts/fleet_forecast.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --fleet {wildcards.fleet} --plan {input.plan} --network {params.network} --out {output} 2> {log}"


# As with a lone device's run, the host's own code is not among what a measurement depends on.
rule fleet_measure:
    input:
        payload="results/payload.pyz",
        model="results/models/{workload}.json",
        tokens="results/tokens/{workload}.bin",
        description="results/tokens/{workload}.json",
        plan="results/fleets/{workload}/{fleet}/plan.json",
    output:
        "results/fleets/{workload}/{fleet}/r{repeat}/record.json",
    log:
        "results/logs/fleet_measure/{workload}/{fleet}/r{repeat}.log",
    retries: 0
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    threads: fleet_threads
    resources:
        **fleet_resources(),
    params:
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.fleet_settings(wildcards.workload, wildcards.fleet)
        ),
        logs="results/logs/fleet_measure/{workload}/{fleet}/r{repeat}",
    shell:
        "python workflow/scripts/fleet_measure.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --fleet {wildcards.fleet} --repeat {wildcards.repeat} --plan {input.plan} --payload {input.payload}"
        " --model {input.model} --tokens {input.tokens} --attempts results/attempts/fleets --logs {params.logs} --out {output}"


rule fleet_tables:
    input:
        sources_of("workflow/scripts/fleet_tables.py"),
        forecast="results/fleets/{workload}/{fleet}/forecast.json",
        records=lambda wildcards: run_files(
            "fleets/{run}/record.json",
            PROJECT.fleet_runs(wildcards.workload, wildcards.fleet),
        ),
    output:
        expand(
            "results/parquet/fleets/{{workload}}/{{fleet}}/{table}.parquet",
            table=["fleet_runs", "fleet_members", "fleet_spans"],
        ),
    log:
        "results/logs/fleet_tables/{workload}/{fleet}.log",
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/fleet_tables.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --fleet {wildcards.fleet} --forecast {input.forecast} --out {output} 2> {log}"


rule fleet_scaling:
    input:
        sources_of("workflow/scripts/fleet_scaling.py"),
        model="results/models/{workload}.json",
    output:
        "results/parquet/scaling/{workload}/fleet_scaling.parquet",
    log:
        "results/logs/fleet_scaling/{workload}.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        study=plan.fingerprint(PROJECT.scaling_settings()),
        length=lambda wildcards: PROJECT.workload_size(wildcards.workload)[
            "sequence_length"
        ],
    shell:
        "python workflow/scripts/fleet_scaling.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --model {input.model} --out {output} 2> {log}"
