"""What methods cost: measured over finished runs, and estimated for a whole experiment before it runs."""


rule cost:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        # Named in the footer.
        masks=lambda wildcards: expand(
            f"{ROOT}/masks/{wildcards.dataset}/{{mask}}.json",
            mask=TRUST.tested(wildcards.dataset),
        ),
        manifest=f"{ROOT}/data/{{dataset}}/manifest.csv",
        records=lambda wildcards: [
            f"{ROOT}/runs/{run.path}/run.json"
            for run in RUNS
            if run.dataset == wildcards.dataset and run.method in PLAN.compared
        ],
        methods=[
            source
            for name in PLAN.compared
            for source in folder_sources(PLAN.method(name).folder)
        ],
        resources=[
            "workflow/resources/table.html.j2",
            "workflow/resources/table.md.j2",
            "workflow/resources/table.tex.j2",
            "workflow/resources/print.mplstyle",
        ],
        source=module_sources("workflow.cost.measured"),
    output:
        multiext(f"{ROOT}/tables/cost_{{dataset}}", ".csv", ".json", ".md", ".tex"),
        f"{ROOT}/figures/cost_{{dataset}}.pdf",
        page=report(
            f"{ROOT}/tables/cost_{{dataset}}.html",
            caption="../report/cost.rst",
            category="Cost",
            labels={"dataset": "{dataset}", "kind": "table"},
        ),
        picture=report(
            f"{ROOT}/figures/cost_{{dataset}}.png",
            caption="../report/cost.rst",
            category="Cost",
            labels={"dataset": "{dataset}", "kind": "figure"},
        ),
    log:
        f"{ROOT}/logs/cost/{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(TRUST.cost_definition(wildcards.dataset)),
        results=subpath(input.metrics, parent=True),
        configuration=config_sha256(PLAN.config),
    shell:
        "python -m workflow.cost.measured --definition {params.definition:q} --results {params.results:q} "
        "--configuration {params.configuration:q} > {log:q} 2>&1"


rule measured_cost:
    input:
        expand(
            f"{ROOT}/{{path}}",
            path=[
                path
                for dataset in TRUST.costed
                for path in (
                    f"tables/cost_{dataset}.html",
                    f"figures/cost_{dataset}.png",
                )
            ],
        ),


# From measured steps; run by name only: `snakemake paper_cost`.
rule paper_cost:
    input:
        # One file per device, written by the bench (docs/cost.md).
        steps=sorted(map(str, Path("workflow/resources").glob("measured_steps*.csv"))),
        papers=[file for paper in PLAN.papers for file in paper_files(paper.id)],
        # Which runs there are, and how large their networks.
        methods=descriptions(run.method for run in RUNS),
        source=module_sources("workflow.cost.estimate"),
    output:
        table=f"{ROOT}/cost.csv",
        page=f"{ROOT}/cost.md",
    log:
        f"{ROOT}/logs/paper_cost.log",
    conda:
        "../../environment.yml"
    params:
        # A command stands in logs, reports and crates.
        plan=lambda wildcards: canonical(without_logins(PLAN.config)),
        folder=subpath(output.table, parent=True),
    shell:
        "python -m workflow.cost.estimate --config {params.plan:q} --steps {input.steps:q} --output {params.folder:q} "
        "> {log:q} 2>&1"
