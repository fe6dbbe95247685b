# edgecarbon: what it costs, in energy and carbon, to train foundation models on edge devices instead of cloud GPUs.
# This file is the table of contents; the stages are in workflow/rules/.

from snakemake.utils import min_version

min_version("9.14")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/device.smk"
include: "workflow/rules/validation.smk"
include: "workflow/rules/members.smk"
include: "workflow/rules/distributed.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/setup.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        # Named here, so that a record that was set aside is measured again although its Parquet is still there.
        RECORDS,
        "results/report.html",
        "results/charts",
        "results/tables",
        "results/sci",
        "results/edgecarbon.duckdb",
