"""What the trainings of the experiment cost, from measured steps; run by name only: `snakemake paper_cost`."""


rule paper_cost:
    input:
        # One file per device, written by the bench (docs/cost.md).
        steps=sorted(map(str, Path("workflow/resources").glob("measured_steps*.csv"))),
        source=module_sources("workflow.cost"),
    output:
        multiext(f"{ROOT}/cost", ".csv", ".md"),
    log:
        f"{ROOT}/logs/paper_cost.log",
    conda:
        "../../environment.yml"
    params:
        plan=canonical(PLAN.config),
        folder=ROOT,
    shell:
        "python -m workflow.cost --config {params.plan:q} --steps {input.steps:q} --output {params.folder:q} "
        "> {log:q} 2>&1"
