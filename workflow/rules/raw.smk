"""Raw scans: IXI downloaded if asked for, embedded ones written in the published file forms."""


# Only for the target `fetch`: which subjects there are, and so the plan, is known when the scans are there.
rule fetch_ixi:
    input:
        source=module_sources("data_prep.datasets.ixi.fetch"),
    output:
        record=f"{ROOT}/raw/fetched_ixi.json",
    log:
        f"{ROOT}/logs/fetch_ixi.log",
    conda:
        "../../environment.yml"
    params:
        folder=DATASETS.get("ixi", {}).get("root"),
        archives=canonical(DATASETS.get("ixi", {}).get("archives")),
    shell:
        # A download of hours is watched: progress goes to the terminal too.
        "python -m data_prep.datasets.ixi.fetch --root {params.folder:q} --archives {params.archives:q} "
        "--record {output.record:q} 2>&1 | tee {log:q}"


# One job per file of maps: estimating them takes half a minute each.
rule fetch_donor:
    input:
        source=module_sources("data_prep.phantom.donors"),
    output:
        maps=f"{ROOT}/raw/donors/{{maps}}.npz",
        record=f"{ROOT}/raw/donors/{{maps}}.json",
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
        "python -m data_prep.phantom.donors --maps {wildcards.maps} --output {params.folder:q} > {log:q} 2>&1"


rule embedded_brain:
    input:
        donors=f"{ROOT}/raw/donors/brain_asym.npz",
        symmetric=f"{ROOT}/raw/donors/brain_sym.npz",
        source=module_sources("data_prep.datasets.ixi.embedded"),
    output:
        t1=f"{ROOT}/raw/ixi/IXI-T1/{{subject}}-T1.nii.gz",
        t2=f"{ROOT}/raw/ixi/IXI-T2/{{subject}}-T2.nii.gz",
        truth=f"{ROOT}/raw/ixi/truth/{{subject}}.truth.json",
        lesions=f"{ROOT}/raw/ixi/truth/{{subject}}.lesions.nii.gz",
    log:
        f"{ROOT}/logs/embedded_brain/{{subject}}.log",
    benchmark:
        f"{ROOT}/benchmarks/embedded_brain/{{subject}}.tsv"
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.t1, ancestor=2),
        donors=subpath(input.donors, parent=True),
        index=lambda wildcards: PLAN.embedded_index("ixi", wildcards.subject),
        matrix=DATASETS.get("ixi", {}).get("matrix"),
        slices=DATASETS.get("ixi", {}).get("acquired_slices"),
        spacing=DATASETS.get("ixi", {}).get("slice_spacing"),
        seed=PLAN.config["seed"],
    shell:
        "python -m data_prep.datasets.ixi.embedded --donors {params.donors:q} --index {params.index} "
        "--seed {params.seed} --matrix {params.matrix} --slices {params.slices} "
        "--slice-spacing {params.spacing} --output {params.folder:q} > {log:q} 2>&1"


# A pair's two files share all but the last digit, so that one wildcard names both.
rule embedded_knee:
    input:
        donor=f"{ROOT}/raw/donors/knee.npz",
        source=module_sources("data_prep.datasets.fastmri.embedded"),
    output:
        pd=f"{ROOT}/raw/fastmri/singlecoil_{{split}}/file{{pair}}0.h5",
        pdfs=f"{ROOT}/raw/fastmri/singlecoil_{{split}}/file{{pair}}1.h5",
        truth=f"{ROOT}/raw/fastmri/truth/singlecoil_{{split}}/file{{pair}}1.truth.json",
    log:
        f"{ROOT}/logs/embedded_knee/{{split}}-{{pair}}.log",
    benchmark:
        f"{ROOT}/benchmarks/embedded_knee/{{split}}-{{pair}}.tsv"
    wildcard_constraints:
        split="train|val",
        pair="[0-9]+",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.pd, ancestor=2),
        donors=subpath(input.donor, parent=True),
        index=lambda wildcards: PLAN.embedded_index("fastmri", f"file{wildcards.pair}1"),
        matrix=DATASETS.get("fastmri", {}).get("matrix"),
        slices=DATASETS.get("fastmri", {}).get("acquired_slices"),
        seed=PLAN.config["seed"],
    shell:
        "python -m data_prep.datasets.fastmri.embedded --donors {params.donors:q} --index {params.index} "
        "--seed {params.seed} --split {wildcards.split} --matrix {params.matrix} "
        "--slices {params.slices} --output {params.folder:q} > {log:q} 2>&1"


# So that the embedded folder is a complete example of the published form.
rule embedded_pair_lists:
    input:
        source=module_sources("data_prep.datasets.fastmri.embedded"),
    output:
        train=f"{ROOT}/raw/fastmri/train_pairs.csv",
        val=f"{ROOT}/raw/fastmri/val_pairs.csv",
    log:
        f"{ROOT}/logs/embedded_pair_lists.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output.train, parent=True),
        train=PLAN.pairs_in("train", "val"),
        val=PLAN.pairs_in("test"),
    shell:
        "python -m data_prep.datasets.fastmri.embedded --pair-lists --train {params.train} --val {params.val} "
        "--output {params.folder:q} > {log:q} 2>&1"


# Everything that comes from the network, so that all the rest runs without one.
rule fetch:
    input:
        PLAN.fetched(),
