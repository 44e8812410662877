"""Equal tuning: trials of every trained method on validation data, compared; run by name only, before `all`."""

TRIAL_FOLDER = (
    f"{ROOT}/tuning/trials/{{dataset}}/{{mask}}/{{method}}/{{setting}}/seed{{seed}}"
)


# A training like any other, but for its setting, its budget, and the split that it is scored on.
use rule train as trial with:
    input:
        data=lambda wildcards: shared("data", wildcards.dataset, "train.h5", "val.h5"),
        mask=f"{ROOT}/masks/{{dataset}}/{{mask}}.npz",
        method=lambda wildcards: folder_sources(PLAN.method(wildcards.method).folder),
        family=lambda wildcards: drawn_mask_sources(wildcards.mask),
        metrics=metric_sources([]),
        source=module_sources("workflow.train"),
    output:
        multiext(
            f"{TRIAL_FOLDER}/", "model.ckpt", "history.csv", "run.json", "metrics.csv"
        ),
    log:
        f"{ROOT}/logs/trial/{{dataset}}/{{mask}}/{{method}}/{{setting}}/seed{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/trial/{{dataset}}/{{mask}}/{{method}}/{{setting}}/seed{{seed}}.tsv"
    wildcard_constraints:
        method=any_of(sorted({trial.run.method for trial in TUNING.trials})),
        setting="[A-Za-z0-9_.+-]+",
    params:
        spec=lambda wildcards: TUNING.spec_of(wildcards),
        data=lambda wildcards: SUBJECTS.folder("data", wildcards.dataset),
        folder=subpath(output[0], parent=True),


if TUNING.config:

    rule choose:
        input:
            trials=[
                f"{ROOT}/tuning/trials/{trial.path}/{file}"
                for trial in TUNING.trials
                for file in ("run.json", "metrics.csv")
            ],
            # Named in the footer.
            masks=[
                f"{ROOT}/masks/{dataset}/{mask}.json"
                for dataset, mask in TUNING.config["masks"].items()
            ],
            data=expand(
                f"{ROOT}/data/{{dataset}}/{{file}}",
                dataset=TUNING.config["masks"],
                file=("manifest.csv", "prepared.json"),
            ),
            resources=[
                "workflow/resources/table.html.j2",
                "workflow/resources/table.md.j2",
                "workflow/resources/table.tex.j2",
                "workflow/resources/print.mplstyle",
            ],
            source=module_sources("workflow.tune.choose"),
        output:
            expand(
                f"{ROOT}/tuning/trials_{{dataset}}.{{kind}}",
                dataset=TUNING.config["masks"],
                kind=("csv", "json", "md", "tex", "html", "pdf", "png"),
            ),
            winners=TUNING.winners,
        log:
            f"{ROOT}/logs/choose.log",
        conda:
            "../../environment.yml"
        params:
            definitions=lambda wildcards: to_json(TUNING.definitions()),
            results=subpath(output.winners, ancestor=2),
            configuration=config_sha256(PLAN.config),
        shell:
            "python -m workflow.tune.choose --definitions {params.definitions:q} --results {params.results:q} "
            "--configuration {params.configuration:q} > {log:q} 2>&1"


# Without the section `tuning` it is refused, as nothing would be done.
rule tuned:
    input:
        lambda wildcards: TUNING.winners,
