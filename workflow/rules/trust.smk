"""How far to believe the numbers: finished runs evaluated again under altered conditions."""

from workflow.plan.probes import FIGURES, TABLES

LESIONED = SUBJECTS.with_lesions
PROBED = f"{ROOT}/trust/runs/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.csv"


if LESIONED:

    rule lesion_labels:
        input:
            aligned=lambda wildcards: aligned(LESIONED, "h5", "json"),
            truth=lambda wildcards: in_turn(SUBJECTS.truth(LESIONED)),
            source=module_sources(dataset_of(LESIONED).lesions),
        output:
            TRUST.lesions,
        log:
            f"{ROOT}/logs/lesion_labels.log",
        conda:
            "../../environment.yml"
        params:
            module=dataset_of(LESIONED).lesions,
            scans=lambda wildcards: SUBJECTS.folder("raw", LESIONED),
            aligned=lambda wildcards: SUBJECTS.folder("aligned", LESIONED),
            subjects=lambda wildcards: canonical(list(SUBJECTS[LESIONED])),
        shell:
            "python -m {params.module:q} --scans {params.scans:q} --aligned {params.aligned:q} "
            "--subjects {params.subjects:q} --output {output:q} > {log:q} 2>&1"


rule probe:
    input:
        checkpoint=lambda wildcards: TRUST.checkpoint(TRUST.run_of(wildcards)),
        # As in the rule evaluate: parameters that are not learnt are chosen again.
        data=lambda wildcards: shared(
            "data", wildcards.dataset, "manifest.csv", *read_by(wildcards.method)
        ),
        mask=f"{ROOT}/masks/{{dataset}}/{{mask}}.npz",
        others=lambda wildcards: TRUST.other_masks(TRUST.run_of(wildcards)),
        lesions=lambda wildcards: TRUST.lesion_file(TRUST.run_of(wildcards)),
        method=lambda wildcards: folder_sources(PLAN.method(wildcards.method).folder),
        source=module_sources("workflow.trust.probe"),
    output:
        PROBED,
    log:
        f"{ROOT}/logs/probe/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/probe/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.tsv"
    conda:
        lambda wildcards: PLAN.environment(wildcards.method)
    threads: PLAN.config["training"]["threads"]
    resources:
        gpu=lambda wildcards: 1 if PLAN.trained(wildcards.method) else 0,
        per_gpu=PLAN.config["training"]["trainings_per_gpu"],
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
    params:
        spec=lambda wildcards: PLAN.spec_of(wildcards),
        data=lambda wildcards: SUBJECTS.folder("data", wildcards.dataset),
        options=lambda wildcards: TRUST.options(TRUST.run_of(wildcards)),
        checkpoint=lambda wildcards, input: (
            ["--checkpoint", input.checkpoint] if input.checkpoint else []
        ),
        others=lambda wildcards, input: (
            ["--masks", *input.others] if input.others else []
        ),
        lesions=lambda wildcards, input: (
            ["--lesions", input.lesions] if input.lesions else []
        ),
        device=lambda wildcards: "auto" if PLAN.trained(wildcards.method) else "cpu",
    shell:
        "python -m workflow.lease --gpus {resources.gpu:q} --per-gpu {resources.per_gpu:q} -- "
        "python -m workflow.trust.probe --spec {params.spec:q} --data {params.data:q} --mask {input.mask:q} "
        "{params.checkpoint:q} {params.options:q} {params.others:q} {params.lesions:q} --device {params.device:q} --output {output:q} > {log:q} 2>&1"


rule gather_probes:
    input:
        scores=[TRUST.path(run) for run in TRUST.runs],
        records=[f"{ROOT}/runs/{run.path}/run.json" for run in TRUST.runs],
        data=expand(
            f"{ROOT}/data/{{dataset}}/prepared.json",
            dataset=sorted({run.dataset for run in TRUST.runs}),
        ),
        source=module_sources("workflow.trust.gather"),
    output:
        f"{ROOT}/trust/probes.parquet",
    log:
        f"{ROOT}/logs/gather_probes.log",
    conda:
        "../../environment.yml"
    params:
        planned=lambda wildcards: planned(TRUST.runs),
        results=subpath(output[0], ancestor=2),
    shell:
        "python -m workflow.trust.gather --results {params.results:q} --planned {params.planned:q} "
        "--output {output:q} > {log:q} 2>&1"


rule trust_table:
    input:
        probes=rules.gather_probes.output,
        # Named in the footer.
        masks=lambda wildcards: expand(
            f"{ROOT}/masks/{wildcards.dataset}/{{mask}}.json",
            mask=TRUST.definition(wildcards.dataset).masks,
        ),
        manifest=f"{ROOT}/data/{{dataset}}/manifest.csv",
        runs=lambda wildcards: [
            f"{ROOT}/runs/{run.path}/run.json"
            for run in TRUST.runs
            if run.dataset == wildcards.dataset
        ],
        resources=[
            "workflow/resources/table.html.j2",
            "workflow/resources/table.md.j2",
            "workflow/resources/table.tex.j2",
        ],
        # The audit names and rounds this metric, too.
        named=metric_sources(["hfen"]),
        source=module_sources("workflow.trust.tables"),
    output:
        multiext(
            f"{ROOT}/tables/trust_{{table}}_{{dataset}}",
            ".csv",
            ".json",
            ".md",
            ".tex",
        ),
        page=report(
            f"{ROOT}/tables/trust_{{table}}_{{dataset}}.html",
            caption="../report/trust_table.rst",
            category="Trust",
            subcategory="{dataset}",
            labels={"table": "{table}"},
        ),
    log:
        f"{ROOT}/logs/trust_table/{{table}}_{{dataset}}.log",
    wildcard_constraints:
        table=any_of(TABLES),
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(TRUST.definition(wildcards.dataset)),
        results=subpath(output.page, ancestor=2),
        configuration=config_sha256(PLAN.config),
        folder=subpath(output.page, parent=True),
    shell:
        "python -m workflow.trust.tables --table {wildcards.table:q} --definition {params.definition:q} "
        "--results {params.results:q} --configuration {params.configuration:q} --output {params.folder:q} "
        "> {log:q} 2>&1"


rule trust_figure:
    input:
        probes=rules.gather_probes.output,
        named=metric_sources(["hfen"]),
        resources=["workflow/resources/print.mplstyle"],
        source=module_sources("workflow.trust.figures"),
    output:
        pdf=f"{ROOT}/figures/trust_{{figure}}_{{dataset}}.pdf",
        png=report(
            f"{ROOT}/figures/trust_{{figure}}_{{dataset}}.png",
            caption="../report/trust_figure.rst",
            category="Trust",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{ROOT}/logs/trust_figure/{{figure}}_{{dataset}}.log",
    wildcard_constraints:
        figure=any_of(FIGURES),
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(TRUST.definition(wildcards.dataset)),
        folder=subpath(output.pdf, parent=True),
    shell:
        "python -m workflow.trust.figures --figure {wildcards.figure:q} --definition {params.definition:q} "
        "--probes {input.probes:q} --output {params.folder:q} > {log:q} 2>&1"


# What the section `trust` of the configuration asks for; nothing without it.
rule trust:
    input:
        [
            f"{ROOT}/tables/trust_{name}_{dataset}.html"
            for name, dataset in TRUST.wanted(TABLES)
        ],
        [
            f"{ROOT}/figures/trust_{name}_{dataset}.png"
            for name, dataset in TRUST.wanted(FIGURES)
        ],
        rules.measured_cost.input if TRUST.config["cost"] else [],
