"""Splits by subject, written as one file per split, and the registration's quality."""


rule prepare:
    input:
        slices=lambda wildcards: expand(
            f"{ROOT}/aligned/{wildcards.dataset}/{{subject}}.{{kind}}",
            subject=SUBJECTS[wildcards.dataset],
            kind=("h5", "json"),
        ),
        source=module_sources("data_prep.prepare"),
    output:
        manifest=f"{ROOT}/data/{{dataset}}/manifest.csv",
        counts=f"{ROOT}/data/{{dataset}}/counts.csv",
        splits=multiext(f"{ROOT}/data/{{dataset}}/", "train.h5", "val.h5", "test.h5"),
    log:
        f"{ROOT}/logs/prepare/{{dataset}}.log",
    benchmark:
        f"{ROOT}/benchmarks/prepare/{{dataset}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        folder=subpath(output.manifest, parent=True),
        aligned=lambda wildcards, input: Path(input.slices[0]).parent,
        subjects=lambda wildcards: canonical(list(SUBJECTS[wildcards.dataset])),
        splits=lambda wildcards: canonical(DATASETS[wildcards.dataset]["splits"]),
        seed=PLAN.config["seed"],
    shell:
        "python -m data_prep.prepare --dataset {wildcards.dataset} --aligned {params.aligned:q} "
        "--subjects {params.subjects:q} --splits {params.splits:q} --seed {params.seed} "
        "--output {params.folder:q} > {log:q} 2>&1"


rule registration_report:
    input:
        records=expand(
            f"{ROOT}/aligned/ixi/{{subject}}.json", subject=SUBJECTS.get("ixi", [])
        ),
        pictures=expand(
            f"{ROOT}/aligned/ixi/{{subject}}.png", subject=SUBJECTS.get("ixi", [])
        ),
        truth=PLAN.brain_truth(),
        source=module_sources("data_prep.datasets.ixi.report"),
    output:
        table=f"{ROOT}/data/ixi/registration.csv",
        figure=report(
            f"{ROOT}/data/ixi/registration.png",
            caption="../report/registration.rst",
            category="Data quality",
            subcategory="Registration, IXI",
            labels={"subject": "all"},
        ),
        worst=report(
            f"{ROOT}/data/ixi/registration_worst.png",
            caption="../report/registration_worst.rst",
            category="Data quality",
            subcategory="Registration, IXI",
            labels={"subject": "lowest scores"},
        ),
    log:
        f"{ROOT}/logs/registration_report.log",
    conda:
        "../../environment.yml"
    params:
        aligned=lambda wildcards, input: Path(input.records[0]).parent,
        subjects=lambda wildcards: canonical(list(SUBJECTS["ixi"])),
        truth=lambda wildcards, input: (
            f"--truth {Path(input.truth[0]).parent}" if input.truth else ""
        ),
        folder=subpath(output.table, parent=True),
    shell:
        "python -m data_prep.datasets.ixi.report --aligned {params.aligned:q} --subjects {params.subjects:q} "
        "{params.truth} --output {params.folder:q} > {log:q} 2>&1"


# What a reader looks at before believing a number: registration, masks, training curves.
rule quality:
    input:
        rules.registration_report.output if "ixi" in DATASETS else [],
        expand(
            f"{ROOT}/figures/training_curves_{{dataset}}.png",
            dataset=PLAN.trained_datasets(),
        ),
