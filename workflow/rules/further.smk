"""Datasets beside the paper's: embedded scans, and every subject's two scans cropped, with a picture."""

from data_prep.datasets.contract import further_dataset

# What a file of data_prep/further_datasets/ says of where its scans lie is a pattern of files, hence a rule each.
for name in PLAN.further:

    rule:
        name:
            f"embedded_{name}"
        input:
            donors=expand(
                f"{ROOT}/raw/donors/{{maps}}.npz", maps=further_dataset(name).maps
            ),
            dataset=dataset_sources([name]),
            source=module_sources("data_prep.datasets.embed"),
        output:
            target=f"{ROOT}/raw/{{dataset}}/{further_dataset(name).target_file}",
            auxiliary=f"{ROOT}/raw/{{dataset}}/{further_dataset(name).auxiliary_file}",
        log:
            f"{ROOT}/logs/embedded_further/{{dataset}}/{{subject}}.log",
        benchmark:
            f"{ROOT}/benchmarks/embedded_further/{{dataset}}/{{subject}}.tsv"
        wildcard_constraints:
            dataset=name,
        conda:
            "../../environment.yml"
        params:
            folder=f"{ROOT}/raw/{name}",
            donors=f"{ROOT}/raw/donors",
            index=lambda wildcards: PLAN.embedded_index(
                wildcards.dataset, wildcards.subject
            ),
            matrix=DATASETS[name]["matrix"],
            slices=DATASETS[name].get("acquired_slices"),
            spacing=DATASETS[name]["slice_spacing"],
            seed=PLAN.config["seed"],
        shell:
            "python -m data_prep.datasets.embed --dataset {wildcards.dataset} --donors {params.donors:q} "
            "--index {params.index} --seed {params.seed} --matrix {params.matrix} --slices {params.slices} "
            "--slice-spacing {params.spacing} --output {params.folder:q} > {log:q} 2>&1"


rule align_further:
    input:
        scans=lambda wildcards: list(
            PLAN.scan_inputs(wildcards.dataset, wildcards.subject).values()
        ),
        dataset=lambda wildcards: dataset_sources([wildcards.dataset]),
        source=module_sources("data_prep.datasets.align"),
    output:
        slices=f"{ROOT}/aligned/{{dataset}}/{{subject}}.h5",
        record=f"{ROOT}/aligned/{{dataset}}/{{subject}}.json",
        picture=report(
            f"{ROOT}/aligned/{{dataset}}/{{subject}}.png",
            caption="../report/pair.rst",
            category="Data quality",
            subcategory="{dataset}",
            labels={"subject": "{subject}"},
        ),
    log:
        f"{ROOT}/logs/align_further/{{dataset}}/{{subject}}.log",
    benchmark:
        f"{ROOT}/benchmarks/align_further/{{dataset}}/{{subject}}.tsv"
    wildcard_constraints:
        dataset=any_of(PLAN.further),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        # No parameter: choosing to exclude the bad scans must not repeat the others.
        bad_scans=PLAN.config["bad_scans"],
    params:
        # By path and not by input: one that is missing is the step's to report.
        target=lambda wildcards: PLAN.scans(wildcards.dataset, wildcards.subject).target,
        auxiliary=lambda wildcards: PLAN.scans(
            wildcards.dataset, wildcards.subject
        ).auxiliary,
        folder=subpath(output.slices, parent=True),
        source=lambda wildcards: DATASETS[wildcards.dataset]["source"],
        matrix=lambda wildcards: DATASETS[wildcards.dataset]["matrix"],
        slices=lambda wildcards: DATASETS[wildcards.dataset]["slices"],
    shell:
        "python -m data_prep.datasets.align --dataset {wildcards.dataset} --target {params.target:q} "
        "--auxiliary {params.auxiliary:q} --subject {wildcards.subject:q} --source {params.source} "
        "--matrix {params.matrix} --slices {params.slices} --bad-scans {resources.bad_scans} "
        "--output {params.folder:q} > {log:q} 2>&1"
