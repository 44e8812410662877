"""Which differences are more than chance: tests, intervals and effect sizes, all tables in one job."""


rule significance:
    input:
        metrics=f"{ROOT}/metrics.parquet",
        further=NAMING_SOURCES,
        source=module_sources("workflow.significance"),
    output:
        expand(
            f"{ROOT}/statistics/{{kind}}_{{number}}.csv",
            kind=("table", "pairs"),
            number=PLAN.table_definitions,
        ),
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
        f"{ROOT}/logs/significance.log",
    conda:
        "../../environment.yml"
    params:
        definitions=canonical(list(PLAN.table_definitions.values())),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "python -m workflow.significance --definitions {params.definitions:q} --metrics {input.metrics:q} "
        "--output {params.folder:q} > {log:q} 2>&1"
