# For people who want to trust their meters: each device's, held against each other and against a wall meter.


VALIDATION_TABLES = [
    f"{folder}/meter_validation.parquet" for folder in PROJECT.validation_folders
]


rule validate_meters:
    input:
        VALIDATIONS,
    log:
        "results/logs/validation.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/show_validation.py --records {input} 2> {log}"


rule validate_device:
    input:
        payload="results/payload.pyz",
    output:
        "results/validation/{device}/record.json",
    log:
        "results/logs/validation/{device}.log",
    wildcard_constraints:
        device=one_of(PROJECT.devices),
    retries: 0
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    threads: lambda wildcards: workflow.cores if on_this_machine(wildcards.device) else 0
    resources:
        **device_resources(),
        this_machine=lambda wildcards: (
            ALL_OF_IT if on_this_machine(wildcards.device) else 1
        ),
    params:
        settings=lambda wildcards: plan.fingerprint(
            PROJECT.validation_settings(wildcards.device)
        ),
    shell:
        "python workflow/scripts/validate_device.py --config $EDGECARBON_CONFIG --device {wildcards.device}"
        " --payload {input.payload} --log {log} --out {output}"


# The record is no input: what there is is shown, and a start of the analysis tests no meter again.
rule validation_table:
    input:
        sources_of("workflow/scripts/validation_table.py"),
    output:
        "results/validation/{device}/meter_validation.parquet",
    log:
        "results/logs/validation/{device}-table.log",
    conda:
        "../envs/edgecarbon.yaml"
    params:
        record="results/validation/{device}/record.json",
        stamp=lambda wildcards: modified(
            f"results/validation/{wildcards.device}/record.json"
        ),
    shell:
        "python workflow/scripts/validation_table.py --record {params.record} --out {output} 2> {log}"
