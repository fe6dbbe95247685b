"""How the graph behaves beside what it computes: one job a device, Snakemake's own report, and other tools."""

import subprocess
import sys
import zipfile

TURNS = """
workflow.register_resource("device_phone", 1)

rule all:
    input: expand("{n}.done", n=range(3))

rule use:
    output: "{n}.done"
    resources: device_phone=1
    shell: "mkdir held && sleep 0.3 && rmdir held && touch {output}"
"""


def test_registered_resource_lets_one_job_at_a_time_use_a_device(tmp_path):
    """The call is not documented by Snakemake; `mkdir` fails here as soon as two jobs hold the device at once."""
    (tmp_path / "Snakefile").write_text(TURNS)
    command = [sys.executable, "-m", "snakemake", "--cores", "4"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    unlimited = TURNS.replace("workflow.register_resource", "# workflow.register_resource")
    (tmp_path / "Snakefile").write_text(unlimited.replace("sleep 0.3", "sleep 2"))  # long enough to meet on any machine
    run = subprocess.run([*command, "--forceall"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0, "without the limit the jobs run into each other, so the test can fail"


def test_measuring_this_machine_takes_all_of_its_cores(finished):
    dry = finished.run("--dry-run", "--force", "results/runs/tiny/local/r1/record.json")
    assert "threads: 2" in dry.output
    assert "device_local=1" in dry.output


def test_snakemakes_own_report_has_charts_captions_and_categories(finished):
    run = finished.run("--report", "report.zip")
    assert run.returncode == 0, run.output
    with zipfile.ZipFile(finished.path / "report.zip") as report:
        names = report.namelist()
        text = "".join(report.read(name).decode() for name in names if name.count("/") <= 1 and name.endswith(".html"))
    assert len([name for name in names if name.endswith(".svg")]) >= 6
    assert "Charts" in text
    assert "Every figure names the boundary" in text, "the caption of the whole report"


def test_tools_that_look_in_the_workflow_folder_find_the_same_graph(finished):
    run = finished.run("--snakefile", "workflow/Snakefile", "--dry-run")
    assert run.returncode == 0, run.output
    assert not run.jobs
