"""Every subject's auxiliary on its target's grid, cropped, with a quality picture."""


rule align:
    input:
        scans=lambda wildcards: in_turn(
            SUBJECTS.scan_inputs(wildcards.dataset, wildcards.subject)
        ),
        dataset=lambda wildcards: dataset_sources([wildcards.dataset], "align"),
        source=module_sources("data_prep.datasets.align"),
    output:
        slices=f"{SHARED}/aligned/{{dataset}}-{{key}}/{{subject}}.h5",
        record=f"{SHARED}/aligned/{{dataset}}-{{key}}/{{subject}}.json",
        picture=report(
            f"{SHARED}/aligned/{{dataset}}-{{key}}/{{subject}}.png",
            caption="../report/overlay.rst",
            category="Data quality",
            subcategory="Alignment, {dataset}",
            labels={"subject": "{subject}"},
        ),
    log:
        f"{ROOT}/logs/align/{{dataset}}-{{key}}/{{subject}}.log",
    benchmark:
        f"{ROOT}/benchmarks/align/{{dataset}}-{{key}}/{{subject}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        # No parameter: choosing to exclude the bad scans must not repeat the alignment of the good ones.
        bad_scans=PLAN.config["bad_scans"],
    params:
        arguments=lambda wildcards: SUBJECTS.align_arguments(
            wildcards.dataset, wildcards.subject
        ),
        folder=subpath(output.slices, parent=True),
    shell:
        "python -m data_prep.datasets.align --dataset {wildcards.dataset:q} --subject {wildcards.subject:q} "
        "{params.arguments:q} --bad-scans {resources.bad_scans:q} --output {params.folder:q} > {log:q} 2>&1"
