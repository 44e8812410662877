"""The last step: what everything was made from, and the sha256 of every file of the results."""


rule provenance:
    input:
        rules.everything.input,
        source=module_sources("workflow.provenance"),
    output:
        f"{ROOT}/provenance.json",
    log:
        f"{ROOT}/logs/provenance.log",
    conda:
        "../../environment.yml"
    params:
        results=subpath(output[0], parent=True),
        # A command stands in logs, reports and crates.
        config=lambda wildcards: canonical(shareable(PLAN.config)),
        planned=lambda wildcards: planned(RUNS),
        own=lambda wildcards: own_files(TRUST),
    shell:
        "python -m workflow.provenance --results {params.results:q} --config {params.config:q} "
        "--planned {params.planned:q} --own {params.own:q} > {log:q} 2>&1"
