# For people, not for the graph: what is on each device, putting there what is missing, and shipping what was measured.
rule probe:
    input:
        payload="results/payload.pyz",
    log:
        "results/logs/probe.log",
    localrule: True
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/probe.py --config $EDGECARBON_CONFIG --payload {input.payload} --out results/probe.json"
        " 2> {log}"


for device in PROJECT.fleet:

    rule:
        name:
            f"setup_device_{device}"
        log:
            f"results/logs/setup/{device}.log",
        localrule: True
        conda:
            "../envs/edgecarbon.yaml"
        params:
            device=device,
        shell:
            "python workflow/scripts/setup_device.py --config $EDGECARBON_CONFIG --device {params.device} --log {log}"

    rule:
        name:
            f"ship_device_{device}"
        log:
            f"results/logs/ship/{device}.log",
        localrule: True
        conda:
            "../envs/edgecarbon.yaml"
        params:
            device=device,
        shell:
            "python workflow/scripts/ship_device.py --config $EDGECARBON_CONFIG --device {params.device} 2> {log}"
