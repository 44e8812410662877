"""Every subject's auxiliary registered onto its target's grid, cropped, with a quality picture."""


rule align_ixi:
    input:
        scans=lambda wildcards: list(
            PLAN.scan_inputs("ixi", wildcards.subject).values()
        ),
        source=module_sources("data_prep.datasets.ixi.align"),
    output:
        slices=f"{ROOT}/aligned/ixi/{{subject}}.h5",
        record=f"{ROOT}/aligned/ixi/{{subject}}.json",
        picture=report(
            f"{ROOT}/aligned/ixi/{{subject}}.png",
            caption="../report/overlay.rst",
            category="Data quality",
            subcategory="Registration, IXI",
            labels={"subject": "{subject}"},
        ),
    log:
        f"{ROOT}/logs/align_ixi/{{subject}}.log",
    benchmark:
        f"{ROOT}/benchmarks/align_ixi/{{subject}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        # No parameter: choosing to exclude the bad scans must not repeat the alignment of the good ones.
        bad_scans=PLAN.config["bad_scans"],
    params:
        # By path and not by input: one that is missing is the alignment's to report.
        t1=lambda wildcards: PLAN.scans("ixi", wildcards.subject).auxiliary,
        t2=lambda wildcards: PLAN.scans("ixi", wildcards.subject).target,
        folder=subpath(output.slices, parent=True),
        source=DATASETS.get("ixi", {}).get("source"),
        matrix=DATASETS.get("ixi", {}).get("matrix"),
        slices=DATASETS.get("ixi", {}).get("slices"),
    shell:
        "python -m data_prep.datasets.ixi.align --t1 {params.t1:q} --t2 {params.t2:q} --subject {wildcards.subject:q} "
        "--source {params.source} --matrix {params.matrix} --slices {params.slices} "
        "--bad-scans {resources.bad_scans} --output {params.folder:q} > {log:q} 2>&1"


rule align_fastmri:
    input:
        scans=lambda wildcards: list(
            PLAN.scan_inputs("fastmri", wildcards.subject).values()
        ),
        source=module_sources("data_prep.datasets.fastmri.align"),
    output:
        slices=f"{ROOT}/aligned/fastmri/{{subject}}.h5",
        record=f"{ROOT}/aligned/fastmri/{{subject}}.json",
        picture=report(
            f"{ROOT}/aligned/fastmri/{{subject}}.png",
            caption="../report/overlay.rst",
            category="Data quality",
            subcategory="Registration, fastMRI",
            labels={"subject": "{subject}"},
        ),
    log:
        f"{ROOT}/logs/align_fastmri/{{subject}}.log",
    benchmark:
        f"{ROOT}/benchmarks/align_fastmri/{{subject}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        # No parameter: choosing to exclude the bad scans must not repeat the alignment of the good ones.
        bad_scans=PLAN.config["bad_scans"],
    params:
        pd=lambda wildcards: PLAN.scans("fastmri", wildcards.subject).auxiliary,
        pdfs=lambda wildcards: PLAN.scans("fastmri", wildcards.subject).target,
        folder=subpath(output.slices, parent=True),
        source=DATASETS.get("fastmri", {}).get("source"),
        matrix=DATASETS.get("fastmri", {}).get("matrix"),
        options=PLAN.align_options("fastmri"),
        hint=lambda wildcards: PLAN.scans("fastmri", wildcards.subject).split_hint,
    shell:
        "python -m data_prep.datasets.fastmri.align --pd {params.pd:q} --pdfs {params.pdfs:q} "
        "--source {params.source} --matrix {params.matrix} {params.options} --split-hint {params.hint} "
        "--bad-scans {resources.bad_scans} --output {params.folder:q} > {log:q} 2>&1"
