# Measurements follow from these files, so each rule names only the code that decides their content: an edit elsewhere
# in the host's code must not send every device back to work.
rule payload:
    input:
        "lib/edgecarbon/payload.py",
        package_files("worker"),
        package_files("meters"),
    output:
        "results/payload.pyz",
    log:
        "results/logs/payload.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/payload.py --out {output} 2> {log}"


rule model:
    input:
        "lib/edgecarbon/models.py",
        package_files("bundled/models"),
    output:
        "results/models/{workload}.json",
    log:
        "results/logs/model/{workload}.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    params:
        name=lambda wildcards: PROJECT.experiment.workloads[wildcards.workload].model,
        revision=lambda wildcards: PROJECT.experiment.workloads[
            wildcards.workload
        ].revision
        or "",
    shell:
        "python workflow/scripts/model.py --name {params.name:q} --revision={params.revision:q} --out {output} 2> {log}"


rule tokens:
    input:
        package_files("data"),
        package_files("bundled", "questions.jsonl"),
        lambda wildcards: PROJECT.data_files(wildcards.workload),
        model="results/models/{workload}.json",
    output:
        blocks="results/tokens/{workload}.bin",
        description="results/tokens/{workload}.json",
    log:
        "results/logs/tokens/{workload}.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    params:
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.data_settings(wildcards.workload)
        ),
    shell:
        "python workflow/scripts/tokens.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --model {input.model} --out {output.blocks} 2> {log}"
