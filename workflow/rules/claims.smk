"""The paper's values and claims against ours, on one page."""


rule claims:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        tables=expand(
            f"{ROOT}/tables/table_{{number}}.csv", number=PLAN.table_definitions
        ),
        tests=expand(
            f"{ROOT}/statistics/{{kind}}_{{number}}.csv",
            kind=("pairs", "masks"),
            number=PLAN.table_definitions,
        ),
        resources=[
            "workflow/resources/claims.yaml",
            "workflow/resources/paper.yaml",
            "workflow/resources/published_tables.csv",
            "workflow/resources/claims.html.j2",
            "workflow/resources/claims.md.j2",
        ],
        named=NAMING_SOURCES,
        source=module_sources("workflow.claims"),
    output:
        multiext(f"{ROOT}/claims/", "cells.csv", "claims.csv", "claims.md"),
        page=report(
            f"{ROOT}/claims/claims.html",
            caption="../report/claims.rst",
            category="Paper against ours",
        ),
    log:
        f"{ROOT}/logs/claims.log",
    conda:
        "../../environment.yml"
    params:
        definitions=lambda wildcards: to_json(list(PLAN.table_definitions.values())),
        figure=lambda wildcards: (
            ["--figure", to_json(PLAN.figure_definitions[9])]
            if 9 in PLAN.figure_definitions
            else []
        ),
        results=subpath(input.metrics, parent=True),
        folder=subpath(output.page, parent=True),
    shell:
        "python -m workflow.claims --definitions {params.definitions:q} {params.figure:q} "
        "--results {params.results:q} --output {params.folder:q} > {log:q} 2>&1"
