import json

PARQUET = ["run", "readings", "steps", "samples"]
FLEET_TABLES = [f"{folder}/fleet_runs.parquet" for folder in PROJECT.fleet_folders]


rule parquet:
    input:
        sources_of("workflow/scripts/parquet.py"),
        record="results/runs/{workload}/{device}/r{repeat}/record.json",
        wall_log=lambda wildcards: (PROJECT.wall_log(wildcards.device) or {}).get(
            "files", []
        ),
    output:
        expand(
            "results/parquet/{{workload}}/{{device}}/r{{repeat}}/{table}.parquet",
            table=PARQUET,
        ),
    log:
        "results/logs/parquet/{workload}/{device}/r{repeat}.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        role=lambda wildcards: ROLES[wildcards.device],
        wall_log=lambda wildcards: json.dumps(PROJECT.wall_log(wildcards.device)),
    shell:
        "python workflow/scripts/parquet.py --record {input.record} --role {params.role}"
        " --wall_log {params.wall_log:q} --out {output} 2> {log}"


rule carbon:
    input:
        sources_of("workflow/scripts/carbon.py"),
        INPUTS,
        runs=run_files("parquet/{run}/run.parquet", PROJECT.runs),
        fleets=FLEET_TABLES,
        models=[f"results/models/{name}.json" for name in PROJECT.shaped_workloads],
        bases=lambda wildcards: PROJECT.scenario_files(wildcards.scenario)[:-1],
        scenario="config/scenarios/{scenario}.yaml",
    output:
        # One folder: of each output Snakemake notes every input, and of these there are as many as runs.
        directory("results/carbon/{scenario}"),
    log:
        "results/logs/carbon/{scenario}.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        devices=plan.fingerprint(PROJECT.carbon_facts()),
        jobs=plan.fingerprint(PROJECT.target_jobs()),
        one_network=sorted(PROJECT.one_network),
    shell:
        "python workflow/scripts/carbon.py --config $EDGECARBON_CONFIG --scenario {input.scenario} --out {output} 2> {log}"


rule published_jobs:
    input:
        sources_of("workflow/scripts/published.py"),
        jobs="config/inputs/published_jobs.yaml",
    output:
        "results/parquet/published/papers/published_jobs.parquet",
    log:
        "results/logs/published_jobs.log",
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/published.py --jobs {input.jobs} --out {output} 2> {log}"


rule database:
    input:
        sources_of("workflow/scripts/database.py"),
        runs=run_files("parquet/{run}/run.parquet", PROJECT.runs),
        fleets=FLEET_TABLES,
        scaling=[
            f"{folder}/fleet_scaling.parquet" for folder in PROJECT.scaling_folders
        ],
        validations=VALIDATION_TABLES,
        published="results/parquet/published/papers/published_jobs.parquet",
        carbon=expand(
            "results/carbon/{scenario}",
            scenario=PROJECT.experiment.scenarios,
        ),
    output:
        # Not deleted before the rule runs: only new and changed runs are read into it.
        update("results/edgecarbon.duckdb"),
    log:
        "results/logs/database.log",
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/database.py --config $EDGECARBON_CONFIG --out {output} 2> {log}"
