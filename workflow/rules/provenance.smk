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
        config=lambda wildcards: canonical(PLAN.config),
    shell:
        "python -m workflow.provenance --results {params.results:q} --config {params.config:q} > {log:q} 2>&1"
