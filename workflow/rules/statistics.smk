"""One tidy table of every metric of every run, and which differences are more than chance; no GPU from here on."""


rule gather:
    input:
        metrics=expand(f"{ROOT}/runs/{{run.path}}/metrics.csv", run=RUNS),
        records=expand(f"{ROOT}/runs/{{run.path}}/run.json", run=RUNS),
        data=expand(
            f"{ROOT}/data/{{dataset}}/prepared.json",
            dataset=sorted({run.dataset for run in RUNS}),
        ),
        source=module_sources("workflow.statistics.gather"),
    output:
        f"{ROOT}/metrics.parquet",
    log:
        f"{ROOT}/logs/gather.log",
    conda:
        "../../environment.yml"
    params:
        planned=lambda wildcards: planned(RUNS),
        results=subpath(output[0], parent=True),
        added=["--metrics", *PLAN.metrics] if PLAN.metrics else [],
    shell:
        "python -m workflow.statistics.gather --results {params.results:q} --planned {params.planned:q} "
        "{params.added:q} --output {output:q} > {log:q} 2>&1"


rule significance:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        named=NAMING_SOURCES,
        source=module_sources("workflow.statistics.significance"),
    output:
        expand(
            f"{ROOT}/statistics/{{kind}}_{{number}}.csv",
            kind=("table", "pairs", "masks"),
            number=PLAN.table_definitions,
        ),
    log:
        f"{ROOT}/logs/significance.log",
    conda:
        "../../environment.yml"
    params:
        definitions=lambda wildcards: to_json(list(PLAN.table_definitions.values())),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "python -m workflow.statistics.significance --definitions {params.definitions:q} --metrics {input.metrics:q} "
        "--output {params.folder:q} > {log:q} 2>&1"


rule differences:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        statistics=expand(
            f"{ROOT}/statistics/table_{{number}}.csv", number=PLAN.table_definitions
        ),
        named=NAMING_SOURCES,
        resources=["workflow/resources/print.mplstyle"],
        source=module_sources("workflow.figures.differences"),
    output:
        expand(f"{ROOT}/statistics/table_{{number}}.pdf", number=PLAN.table_definitions),
        [
            report(
                f"{ROOT}/statistics/table_{number}.png",
                caption="../report/significance.rst",
                category="Significance",
                labels={"table": str(number)},
            )
            for number in PLAN.table_definitions
        ],
    log:
        f"{ROOT}/logs/differences.log",
    conda:
        "../../environment.yml"
    params:
        definitions=lambda wildcards: to_json(list(PLAN.table_definitions.values())),
        results=subpath(input.metrics, parent=True),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "python -m workflow.figures.differences --definitions {params.definitions:q} --results {params.results:q} "
        "--output {params.folder:q} > {log:q} 2>&1"
