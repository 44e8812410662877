"""Splits by subject, written as one file per split, the registration's quality, and what tells of them."""


rule prepare:
    input:
        slices=lambda wildcards: aligned(wildcards.dataset, "h5", "json"),
        dataset=lambda wildcards: dataset_sources([wildcards.dataset]),
        source=module_sources("data_prep.prepare"),
    output:
        multiext(
            f"{SHARED}/data/{{dataset}}-{{key}}/",
            "manifest.csv",
            "counts.csv",
            "prepared.json",
            "train.h5",
            "val.h5",
            "test.h5",
        ),
    log:
        f"{ROOT}/logs/prepare/{{dataset}}-{{key}}.log",
    benchmark:
        f"{ROOT}/benchmarks/prepare/{{dataset}}-{{key}}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        folder=subpath(output[0], parent=True),
        aligned=lambda wildcards, input: Path(input.slices[0]).parent,
        subjects=lambda wildcards: canonical(list(SUBJECTS[wildcards.dataset])),
        splits=lambda wildcards: canonical(
            split_numbers(DATASETS[wildcards.dataset]["splits"])
        ),
        at_most=lambda wildcards: (
            ["--at-most"] if SUBJECTS.at_most(wildcards.dataset) else []
        ),
        seed=PLAN.config["seed"],
        configuration=lambda wildcards: data_sha256(PLAN.config, wildcards.dataset),
    shell:
        "python -m data_prep.prepare --dataset {wildcards.dataset:q} --aligned {params.aligned:q} "
        "--subjects {params.subjects:q} --splits {params.splits:q} {params.at_most:q} --seed {params.seed:q} "
        "--configuration {params.configuration:q} "
        "--output {params.folder:q} > {log:q} 2>&1"


rule registration_report:
    input:
        records=lambda wildcards: aligned(wildcards.dataset, "json"),
        pictures=lambda wildcards: aligned(wildcards.dataset, "png"),
        truth=lambda wildcards: SUBJECTS.truth(wildcards.dataset),
        source=lambda wildcards: module_sources(dataset_of(wildcards.dataset).report),
    output:
        table=f"{ROOT}/data/{{dataset}}/registration.csv",
        figure=report(
            f"{ROOT}/data/{{dataset}}/registration.png",
            caption="../report/registration.rst",
            category="Data quality",
            subcategory="Alignment, {dataset}",
            labels={"subject": "all"},
        ),
        worst=report(
            f"{ROOT}/data/{{dataset}}/registration_worst.png",
            caption="../report/registration_worst.rst",
            category="Data quality",
            subcategory="Alignment, {dataset}",
            labels={"subject": "lowest scores"},
        ),
    log:
        f"{ROOT}/logs/registration_report/{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        aligned=lambda wildcards, input: Path(input.records[0]).parent,
        module=lambda wildcards: dataset_of(wildcards.dataset).report,
        subjects=lambda wildcards: canonical(list(SUBJECTS[wildcards.dataset])),
        truth=lambda wildcards, input: (
            ["--truth", Path(input.truth[0]).parent] if input.truth else []
        ),
        folder=subpath(output.table, parent=True),
    shell:
        "python -m {params.module:q} --aligned {params.aligned:q} --subjects {params.subjects:q} "
        "{params.truth:q} --output {params.folder:q} > {log:q} 2>&1"


# What an experiment keeps of data that others may share: it stands beside the runs, and goes with them.
rule places:
    input:
        lambda wildcards: shared("data", wildcards.dataset, *KEPT),
        source=module_sources("data_prep.prepare.places"),
    output:
        multiext(
            f"{ROOT}/data/{{dataset}}/", "manifest.csv", "prepared.json", "shared.json"
        ),
        counts=report(
            f"{ROOT}/data/{{dataset}}/counts.csv",
            caption="../report/counts.rst",
            category="Data quality",
            subcategory="Subjects",
            labels={"dataset": "{dataset}"},
        ),
    log:
        f"{ROOT}/logs/places/{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        places=lambda wildcards: [
            *("--data", SUBJECTS.folder("data", wildcards.dataset)),
            *("--places", to_json(SUBJECTS.places[wildcards.dataset])),
        ],
        folder=subpath(output.counts, parent=True),
    shell:
        "python -m data_prep.prepare.places {params.places:q} --output {params.folder:q} > {log:q} 2>&1"


# What a reader looks at before believing a number: registration, masks, training curves.
rule quality:
    input:
        expand(rules.registration_report.output, dataset=SUBJECTS.reported),
        expand(
            f"{ROOT}/figures/training_curves_{{dataset}}.png",
            dataset=PLAN.trained_datasets(),
        ),
