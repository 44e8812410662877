"""What the trainings of the experiment cost, from measured steps; run by name only: `snakemake paper_cost`."""


rule paper_cost:
    input:
        # One file per device, written by the bench (docs/cost.md).
        steps=sorted(map(str, Path("workflow/resources").glob("measured_steps*.csv"))),
        source=module_sources("workflow.cost.estimate"),
    output:
        table=f"{ROOT}/cost.csv",
        page=f"{ROOT}/cost.md",
    log:
        f"{ROOT}/logs/paper_cost.log",
    conda:
        "../../environment.yml"
    params:
        plan=canonical(PLAN.config),
        folder=subpath(output.table, parent=True),
    shell:
        "python -m workflow.cost.estimate --config {params.plan:q} --steps {input.steps:q} --output {params.folder:q} "
        "> {log:q} 2>&1"
