"""Frozen, hashed and plotted sampling masks."""


rule mask:
    input:
        # Drawn masks are seeded by the names of the files.
        manifest=lambda wildcards: (
            shared("data", wildcards.dataset, "manifest.csv")
            if parse_mask(wildcards.mask)[0].drawn
            else []
        ),
        file=lambda wildcards: mask_file(wildcards) or [],
        family=lambda wildcards: mask_sources(wildcards.mask),
        source=module_sources("data_prep.masks"),
    output:
        mask=f"{ROOT}/masks/{{dataset}}/{{mask}}.npz",
        record=f"{ROOT}/masks/{{dataset}}/{{mask}}.json",
        picture=report(
            f"{ROOT}/masks/{{dataset}}/{{mask}}.png",
            caption="../report/mask.rst",
            category="Masks",
            subcategory="{dataset}",
            labels={"mask": "{mask}"},
        ),
    log:
        f"{ROOT}/logs/mask/{{dataset}}/{{mask}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.mask, parent=True),
        matrix=lambda wildcards: DATASETS[wildcards.dataset]["matrix"],
        manifest=lambda wildcards, input: (
            ["--manifest", input.manifest] if input.manifest else []
        ),
        seed=PLAN.config["seed"],
        file=lambda wildcards, input: ["--file", input.file] if input.file else [],
    shell:
        "python -m data_prep.masks --mask {wildcards.mask:q} --height {params.matrix:q} "
        "--width {params.matrix:q} --dataset {wildcards.dataset:q} --seed {params.seed:q} {params.manifest:q} "
        "{params.file:q} "
        "--output {params.folder:q} > {log:q} 2>&1"


# All that trainings read, for running them on another machine (python -m workflow.plan --commands).
rule prepared_data:
    input:
        lambda wildcards: [
            path
            for name in DATASETS
            for path in shared("data", name, "train.h5", "val.h5", "test.h5")
        ],
        sorted({f"{ROOT}/masks/{run.dataset}/{run.mask}.npz" for run in RUNS}),
