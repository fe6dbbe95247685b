PARQUET = ["run", "readings", "steps", "samples"]


rule parquet:
    input:
        sources_of("workflow/scripts/parquet.py"),
        record="results/runs/{workload}/{device}/r{repeat}/record.json",
    output:
        expand("results/parquet/{{workload}}/{{device}}/r{{repeat}}/{table}.parquet", table=PARQUET),
    log:
        "results/logs/parquet/{workload}/{device}/r{repeat}.log",
    params:
        role=lambda wildcards: ROLES[wildcards.device],
    shell:
        "{PYTHON} workflow/scripts/parquet.py --record {input.record} --role {params.role} --out {output} 2> {log}"


rule carbon:
    input:
        sources_of("workflow/scripts/carbon.py"),
        INPUTS,
        runs=run_files("parquet/{run}/run.parquet", PROJECT.runs),
        scenario="config/scenarios/{scenario}.yaml",
    output:
        expand("results/carbon/{{scenario}}/{table}.parquet", table=["carbon", "verdicts", "assumptions"]),
    log:
        "results/logs/carbon/{scenario}.log",
    params:
        devices=plan.fingerprint(PROJECT.carbon_facts()),
    shell:
        "{PYTHON} workflow/scripts/carbon.py --config {CONFIG} --scenario {input.scenario} --out {output} 2> {log}"


rule database:
    input:
        sources_of("workflow/scripts/database.py"),
        runs=run_files("parquet/{run}/run.parquet", PROJECT.runs),
        carbon=expand("results/carbon/{scenario}/carbon.parquet", scenario=PROJECT.experiment.scenarios),
    output:
        # Not deleted before the rule runs: only new and changed runs are read into it.
        update("results/edgecarbon.duckdb"),
    log:
        "results/logs/database.log",
    shell:
        "{PYTHON} workflow/scripts/database.py --config {CONFIG} --out {output} 2> {log}"
