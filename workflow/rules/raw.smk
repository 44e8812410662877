"""Raw scans: downloaded if asked for, or embedded ones written in the published file forms."""

# Users and passwords go to the download by its environment: a command stands in logs and in the list of processes.
os.environ.update(
    FETCH_ARCHIVES=canonical(
        {name: dataset.get("archives", {}) for name, dataset in DATASETS.items()}
    )
)


# Only for the target `fetch`: which subjects there are, and so the plan, is known when the scans are there.
rule fetch_scans:
    input:
        source=lambda wildcards: module_sources(
            dataset_of(wildcards.dataset).download.module
        ),
    output:
        record=f"{SHARED}/raw/{{dataset}}-{{key}}/fetched.json",
    log:
        f"{ROOT}/logs/fetch_scans/{{dataset}}-{{key}}.log",
    conda:
        "../../environment.yml"
    params:
        module=lambda wildcards: dataset_of(wildcards.dataset).download.module,
        folder=lambda wildcards: DATASETS[wildcards.dataset]["root"],
        archives=lambda wildcards: canonical(
            without_logins(DATASETS[wildcards.dataset]["archives"])
        ),
    shell:
        # A download of hours is watched: progress goes to the terminal too.
        "python -m {params.module:q} --root {params.folder:q} --archives {params.archives:q} "
        "--record {output.record:q} 2>&1 | tee {log:q}"


# One job per file of maps: estimating them takes half a minute each.
rule fetch_donor:
    input:
        source=module_sources("data_prep.phantom.donors"),
    output:
        maps=f"{SHARED}/donors/{{maps}}.npz",
        record=f"{SHARED}/donors/{{maps}}.json",
    log:
        f"{ROOT}/logs/fetch_donor/{{maps}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fetch_donor/{{maps}}.tsv"
    wildcard_constraints:
        maps=any_of(MAPS),
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.record, parent=True),
    shell:
        "python -m data_prep.phantom.donors --maps {wildcards.maps:q} --output {params.folder:q} > {log:q} 2>&1"


# Where a dataset's scans lie is a pattern of files, hence a rule for each.
for name in filter(SUBJECTS.embedded, DATASETS):

    rule:
        name:
            f"embed_{name}"
        input:
            donors=lambda wildcards: in_turn(
                f"{SHARED}/donors/{maps}.npz"
                for maps in dataset_of(wildcards.dataset).maps
            ),
            dataset=dataset_sources([name], "embed"),
            source=module_sources("data_prep.datasets.embed"),
        output:
            [
                f"{SHARED}/raw/{{dataset}}-{{key}}/{file}"
                for file in dataset_of(name).embedded_patterns
            ],
        log:
            f"{ROOT}/logs/embed/{{dataset}}-{{key}}/{dataset_of(name).embedded_patterns[0]}.log",
        benchmark:
            f"{ROOT}/benchmarks/embed/{{dataset}}-{{key}}/{dataset_of(name).embedded_patterns[0]}.tsv"
        wildcard_constraints:
            dataset=name,
        conda:
            "../../environment.yml"
        params:
            folder=SUBJECTS.folder("raw", name),
            donors=lambda wildcards: f"{SHARED}/donors",
            arguments=lambda wildcards, output: SUBJECTS.embed_arguments(
                wildcards.dataset, output[0]
            ),
        shell:
            "python -m data_prep.datasets.embed --dataset {wildcards.dataset:q} --donors {params.donors:q} "
            "{params.arguments:q} --output {params.folder:q} > {log:q} 2>&1"


# So that embedded data is a complete example of the published form.
for name in SUBJECTS.listed:

    rule:
        name:
            f"embed_{name}_lists"
        input:
            dataset=dataset_sources([name], "list_embedded"),
            source=module_sources("data_prep.datasets.embed"),
        output:
            SUBJECTS.lists(name),
        log:
            f"{ROOT}/logs/embed/{name}_lists.log",
        conda:
            "../../environment.yml"
        params:
            dataset=name,
            splits=canonical(split_numbers(DATASETS[name]["splits"])),
            folder=subpath(output[0], parent=True),
        shell:
            "python -m data_prep.datasets.embed --dataset {params.dataset:q} --lists {params.splits:q} "
            "--output {params.folder:q} > {log:q} 2>&1"


# Everything that comes from the network, so that all the rest runs without one.
rule fetch:
    input:
        lambda wildcards: in_turn(SUBJECTS.fetched()),
