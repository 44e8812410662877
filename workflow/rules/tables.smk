"""Tables I to IV of the paper."""


rule table:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        masks=lambda wildcards: expand(
            f"{ROOT}/masks/{{dataset}}/{{mask}}.json",
            dataset=PLAN.table_definitions[int(wildcards.number)].dataset,
            mask=PLAN.table_definitions[int(wildcards.number)].masks,
        ),
        statistics=f"{ROOT}/statistics/table_{{number}}.csv",
        # Named in the footer.
        manifest=lambda wildcards: (
            f"{ROOT}/data/{PLAN.table_definitions[int(wildcards.number)].dataset}/manifest.csv"
        ),
        runs=lambda wildcards: expand(
            f"{ROOT}/runs/{{run.path}}/run.json",
            run=PLAN.runs_of(PLAN.table_definitions[int(wildcards.number)]),
        ),
        resources=[
            "workflow/resources/paper.yaml",
            "workflow/resources/published_tables.csv",
            "workflow/resources/table.html.j2",
            "workflow/resources/table.md.j2",
            "workflow/resources/table.tex.j2",
        ],
        named=NAMING_SOURCES,
        source=module_sources("workflow.tables"),
    output:
        multiext(f"{ROOT}/tables/table_{{number}}", ".csv", ".json", ".md", ".tex"),
        page=report(
            f"{ROOT}/tables/table_{{number}}.html",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{number}"},
        ),
    log:
        f"{ROOT}/logs/table_{{number}}.log",
    wildcard_constraints:
        number=any_of(map(str, PLAN.table_definitions)),
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(
            PLAN.table_definitions[int(wildcards.number)]
        ),
        results=subpath(input.metrics, parent=True),
        configuration=config_sha256(PLAN.config),
        folder=subpath(output.page, parent=True),
    shell:
        "python -m workflow.tables --definition {params.definition:q} --results {params.results:q} "
        "--configuration {params.configuration:q} --output {params.folder:q} > {log:q} 2>&1"


rule paper_tables:
    input:
        expand(
            f"{ROOT}/tables/table_{{number}}.{{kind}}",
            number=PLAN.table_definitions,
            kind=("csv", "md", "tex", "html"),
        ),
