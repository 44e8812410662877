"""One tidy table of every metric of every run; what follows needs no GPU."""


rule gather:
    input:
        metrics=expand(f"{ROOT}/runs/{{run.path}}/metrics.csv", run=RUNS),
        source=module_sources("workflow.gather"),
    output:
        f"{ROOT}/metrics.parquet",
    log:
        f"{ROOT}/logs/gather.log",
    conda:
        "../../environment.yml"
    params:
        further=f"--further {' '.join(PLAN.metrics)}" if PLAN.metrics else "",
    shell:
        "python -m workflow.gather {input.metrics:q} {params.further} --output {output:q} > {log:q} 2>&1"
