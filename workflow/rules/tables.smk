"""Tables of the papers, and comparisons of all methods beyond them."""

TABLES_BY_NAME = {str(number): of for number, of in PLAN.table_definitions.items()}


rule table:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        masks=lambda wildcards: expand(
            f"{ROOT}/masks/{{dataset}}/{{mask}}.json",
            dataset=TABLES_BY_NAME[wildcards.number].dataset,
            mask=TABLES_BY_NAME[wildcards.number].masks,
        ),
        statistics=f"{ROOT}/statistics/table_{{number}}.csv",
        # Named in the footer.
        manifest=lambda wildcards: (
            f"{ROOT}/data/{TABLES_BY_NAME[wildcards.number].dataset}/manifest.csv"
        ),
        runs=lambda wildcards: expand(
            f"{ROOT}/runs/{{run.path}}/run.json",
            run=PLAN.runs_of(TABLES_BY_NAME[wildcards.number]),
        ),
        paper=lambda wildcards: paper_files(
            TABLES_BY_NAME[wildcards.number].paper, ("paper.yaml", "published.csv")
        ),
        resources=[
            "workflow/resources/table.html.j2",
            "workflow/resources/table.md.j2",
            "workflow/resources/table.tex.j2",
        ],
        named=NAMING_SOURCES,
        # A method that its variants beat is called by its own name.
        methods=lambda wildcards: descriptions(TABLES_BY_NAME[wildcards.number].methods),
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
        number=any_of(TABLES_BY_NAME),
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(TABLES_BY_NAME[wildcards.number]),
        caption=lambda wildcards: caption_of(TABLES_BY_NAME[wildcards.number]),
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
