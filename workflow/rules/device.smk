# What a measurement depends on is its inputs and its settings. The host's own code is not among them: an edit of it
# changes no joule, and must not send every device back to work.
rule measure:
    input:
        payload="results/payload.pyz",
        model="results/models/{workload}.json",
        tokens="results/tokens/{workload}.bin",
        description="results/tokens/{workload}.json",
    output:
        "results/runs/{workload}/{device}/r{repeat}/record.json",
    log:
        "results/logs/measure/{workload}/{device}/r{repeat}.log",
    wildcard_constraints:
        device=one_of(PROJECT.devices),
    retries: 0
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    # A job that measures this machine takes all of it, so that nothing disturbs the figure. One that measures another
    # machine only waits here, and takes no core from anybody.
    threads: lambda wildcards: workflow.cores if on_this_machine(wildcards.device) else 0
    resources:
        **device_resources(),
        this_machine=lambda wildcards: (
            ALL_OF_IT if on_this_machine(wildcards.device) else 1
        ),
    params:
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.run_settings(wildcards.workload, wildcards.device)
        ),
    shell:
        "python workflow/scripts/measure.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --device {wildcards.device} --repeat {wildcards.repeat} --payload {input.payload} --model {input.model}"
        " --tokens {input.tokens} --attempts results/attempts --log {log} --out {output}"


rule reference:
    input:
        sources_of("workflow/scripts/reference.py"),
        model="results/models/{workload}.json",
    output:
        "results/runs/{workload}/{device}/r1/record.json",
    log:
        "results/logs/reference/{workload}/{device}.log",
    wildcard_constraints:
        device=one_of(PROJECT.experiment.reference_devices),
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    params:
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.reference_settings(wildcards.workload, wildcards.device)
        ),
    shell:
        "python workflow/scripts/reference.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --device {wildcards.device} --model {input.model} --out {output} 2> {log}"


# Runs that were measured elsewhere, from the file in which they came.
rule shipped:
    input:
        sources_of("workflow/scripts/shipped.py"),
        file="config/inputs/measured/{device}.json",
        model="results/models/{workload}.json",
    output:
        "results/runs/{workload}/{device}/r{repeat}/record.json",
    log:
        "results/logs/shipped/{workload}/{device}/r{repeat}.log",
    wildcard_constraints:
        device=one_of(PROJECT.shipped),
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    params:
        work=lambda wildcards: plan.fingerprint(
            PROJECT.shipped_settings(wildcards.workload)
        ),
    shell:
        "python workflow/scripts/shipped.py --config $EDGECARBON_CONFIG --workload {wildcards.workload}"
        " --device {wildcards.device} --repeat {wildcards.repeat} --file {input.file} --model {input.model}"
        " --out {output} 2> {log}"
