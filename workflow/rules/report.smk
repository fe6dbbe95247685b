rule charts:
    input:
        sources_of("workflow/scripts/charts.py"),
        database="results/edgecarbon.duckdb",
    output:
        report(
            directory("results/charts"),
            patterns=["{chart}.svg"],
            caption="../report/charts.rst",
            category="Charts",
            labels={"chart": "{chart}"},
        ),
    log:
        "results/logs/charts.log",
    # Before the tables: these two take longest.
    priority: 1
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/charts.py --database {input.database} --out {output} 2> {log}"


rule page:
    input:
        sources_of("workflow/scripts/page.py"),
        package_files("report/templates"),
        database="results/edgecarbon.duckdb",
    output:
        report("results/report.html", caption="../report/page.rst", category="Report"),
    log:
        "results/logs/page.log",
    priority: 1
    conda:
        "../envs/edgecarbon.yaml"
    params:
        config=PROJECT.config_name,
    shell:
        "python workflow/scripts/page.py --config $EDGECARBON_CONFIG --database {input.database} --out {output} 2> {log}"


rule tables:
    input:
        sources_of("workflow/scripts/tables.py"),
        database="results/edgecarbon.duckdb",
    output:
        tables=directory("results/tables"),
        sci=directory("results/sci"),
    log:
        "results/logs/tables.log",
    conda:
        "../envs/edgecarbon.yaml"
    shell:
        "python workflow/scripts/tables.py --database {input.database} --tables {output.tables} --sci {output.sci} 2> {log}"
