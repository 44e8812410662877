"""One job per run: training and evaluation in one process, or evaluation alone where nothing is trained."""

TRAINED = sorted({run.method for run in RUNS if PLAN.trained(run.method)})
UNTRAINED = sorted({run.method for run in RUNS if not PLAN.trained(run.method)})
RUN_FOLDER = f"{ROOT}/runs/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}"


rule train:
    input:
        data=lambda wildcards: shared(
            "data", wildcards.dataset, "test.h5", "train.h5", "val.h5"
        ),
        mask=f"{ROOT}/masks/{{dataset}}/{{mask}}.npz",
        method=lambda wildcards: folder_sources(PLAN.method(wildcards.method).folder),
        family=lambda wildcards: drawn_mask_sources(wildcards.mask),
        metrics=METRIC_SOURCES,
        source=module_sources("workflow.train"),
    output:
        multiext(
            f"{RUN_FOLDER}/",
            "model.ckpt",
            "history.csv",
            "run.json",
            "metrics.csv",
            "examples.npz",
        ),
    log:
        f"{ROOT}/logs/train/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/train/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.tsv"
    wildcard_constraints:
        method=any_of(TRAINED),
    conda:
        lambda wildcards: PLAN.environment(wildcards.method)
    threads: PLAN.config["training"]["threads"] * PLAN.config["training"]["devices"]
    resources:
        gpu=PLAN.config["training"]["devices"],
        # Not a parameter: another number repeats nothing.
        per_gpu=PLAN.config["training"]["trainings_per_gpu"],
        mem_mb=lambda wildcards, attempt: (
            8000 * PLAN.config["training"]["devices"] * attempt
        ),
    params:
        spec=lambda wildcards: PLAN.spec_of(wildcards),
        data=lambda wildcards: SUBJECTS.folder("data", wildcards.dataset),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m workflow.lease --gpus {resources.gpu:q} --per-gpu {resources.per_gpu:q} -- "
        "python -m workflow.train --spec {params.spec:q} --data {params.data:q} --mask {input.mask:q} "
        "--output {params.folder:q} > {log:q} 2>&1"


rule evaluate:
    input:
        # Parameters that are not learnt are chosen on validation data.
        data=lambda wildcards: shared(
            "data", wildcards.dataset, *read_by(wildcards.method)
        ),
        mask=f"{ROOT}/masks/{{dataset}}/{{mask}}.npz",
        method=lambda wildcards: folder_sources(PLAN.method(wildcards.method).folder),
        metrics=METRIC_SOURCES,
        source=module_sources("workflow.evaluate"),
    output:
        multiext(f"{RUN_FOLDER}/", "run.json", "metrics.csv", "examples.npz"),
    log:
        f"{ROOT}/logs/evaluate/{{dataset}}/{{mask}}/{{method}}/seed{{seed}}.log",
    wildcard_constraints:
        method=any_of(UNTRAINED),
    conda:
        lambda wildcards: PLAN.environment(wildcards.method)
    threads: PLAN.config["training"]["threads"]
    resources:
        # What iterates is worth a GPU; zero filling is not.
        gpu=lambda wildcards: 1 if PLAN.tuned(wildcards.method) else 0,
        per_gpu=PLAN.config["training"]["trainings_per_gpu"],
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        spec=lambda wildcards: PLAN.spec_of(wildcards),
        device=lambda wildcards: "auto" if PLAN.tuned(wildcards.method) else "cpu",
        data=lambda wildcards: SUBJECTS.folder("data", wildcards.dataset),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m workflow.lease --gpus {resources.gpu:q} --per-gpu {resources.per_gpu:q} -- "
        "python -m workflow.evaluate --spec {params.spec:q} --data {params.data:q} --mask {input.mask:q} "
        "--device {params.device:q} --output {params.folder:q} > {log:q} 2>&1"
