"""The papers' values and claims against ours, a page for each; of several papers, where they differ."""

# Of each paper, where its files are in the folder claims/.
PLACES = [paper.claims_folder.removeprefix("claims") for paper in PLAN.judged]
HEAT_MAPS = [figure for figure in PLAN.figure_definitions.values() if figure.grid]


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
        papers=[file for paper in PLAN.judged for file in paper_files(paper.id)],
        resources=[
            "workflow/resources/claims.html.j2",
            "workflow/resources/claims.md.j2",
        ],
        named=NAMING_SOURCES,
        source=module_sources("workflow.claims"),
    output:
        expand(
            f"{ROOT}/claims{{place}}/{{name}}",
            place=PLACES,
            name=("cells.csv", "claims.csv", "claims.md"),
        ),
        expand(
            f"{ROOT}/claims/papers.{{kind}}",
            kind=("csv", "md") if len(PLACES) > 1 else (),
        ),
        page=[
            report(
                f"{ROOT}/claims{place}/claims.html",
                caption="../report/claims.rst",
                category="Paper against ours",
                labels={"paper": paper.id},
            )
            for place, paper in zip(PLACES, PLAN.judged)
        ],
    log:
        f"{ROOT}/logs/claims.log",
    conda:
        "../../environment.yml"
    params:
        definitions=lambda wildcards: to_json(list(PLAN.table_definitions.values())),
        figures=lambda wildcards: (
            ["--figures", to_json(HEAT_MAPS)] if HEAT_MAPS else []
        ),
        papers=[paper.id for paper in PLAN.judged],
        results=subpath(input.metrics, parent=True),
        folder=lambda wildcards, input: Path(input.metrics).parent / "claims",
    shell:
        "python -m workflow.claims --papers {params.papers:q} --definitions {params.definitions:q} {params.figures:q} "
        "--results {params.results:q} --output {params.folder:q} > {log:q} 2>&1"
