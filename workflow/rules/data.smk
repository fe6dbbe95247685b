rule payload:
    input:
        sources_of("workflow/scripts/payload.py"),
        package_files("worker"),
        package_files("meters"),
    output:
        "results/payload.pyz",
    log:
        "results/logs/payload.log",
    localrule: True
    shell:
        "{PYTHON} workflow/scripts/payload.py --out {output} 2> {log}"


rule model:
    input:
        sources_of("workflow/scripts/model.py"),
        package_files("bundled/models"),
    output:
        "results/models/{workload}.json",
    log:
        "results/logs/model/{workload}.log",
    params:
        name=lambda wildcards: PROJECT.experiment.workloads[wildcards.workload].model,
        revision=lambda wildcards: PROJECT.experiment.workloads[wildcards.workload].revision or "",
    localrule: True
    shell:
        "{PYTHON} workflow/scripts/model.py --name {params.name:q} --revision={params.revision:q} --out {output} 2> {log}"


rule tokens:
    input:
        sources_of("workflow/scripts/tokens.py"),
        package_files("bundled", "questions.jsonl"),
        lambda wildcards: PROJECT.data_files(wildcards.workload),
        model="results/models/{workload}.json",
    output:
        blocks="results/tokens/{workload}.bin",
        description="results/tokens/{workload}.json",
    log:
        "results/logs/tokens/{workload}.log",
    params:
        settings=lambda wildcards: plan.fingerprint(PROJECT.data_settings(wildcards.workload)),
    localrule: True
    shell:
        "{PYTHON} workflow/scripts/tokens.py --config {CONFIG} --workload {wildcards.workload}"
        " --model {input.model} --out {output.blocks} 2> {log}"
