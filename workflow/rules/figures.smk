"""Figures of the papers, and the training curves."""

FIGURES_BY_NAME = {str(number): of for number, of in PLAN.figure_definitions.items()}


rule figure:
    input:
        lambda wildcards: PLAN.figure_inputs(FIGURES_BY_NAME[wildcards.number]),
        # Of the runs that are read: what their data was.
        data=lambda wildcards: f"{ROOT}/data/{FIGURES_BY_NAME[wildcards.number].dataset}/prepared.json",
        paper=lambda wildcards: paper_files(
            FIGURES_BY_NAME[wildcards.number].paper, ("paper.yaml",)
        ),
        resources=["workflow/resources/print.mplstyle"],
        source=module_sources("workflow.figures"),
    output:
        pdf=f"{ROOT}/figures/figure_{{number}}.pdf",
        png=report(
            f"{ROOT}/figures/figure_{{number}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{number}"},
        ),
    log:
        f"{ROOT}/logs/figure_{{number}}.log",
    wildcard_constraints:
        number=any_of(FIGURES_BY_NAME),
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(FIGURES_BY_NAME[wildcards.number]),
        caption=lambda wildcards: caption_of(FIGURES_BY_NAME[wildcards.number]),
        results=subpath(output.pdf, ancestor=2),
        folder=subpath(output.pdf, parent=True),
    shell:
        "python -m workflow.figures --definition {params.definition:q} --results {params.results:q} "
        "--output {params.folder:q} > {log:q} 2>&1"


rule training_curves:
    input:
        lambda wildcards: [
            f"{ROOT}/runs/{run.path}/history.csv"
            for run in RUNS
            if run.dataset == wildcards.dataset and PLAN.trained(run.method)
        ],
        data=f"{ROOT}/data/{{dataset}}/prepared.json",
        resources=["workflow/resources/print.mplstyle"],
        source=module_sources("workflow.figures.training_curves"),
    output:
        together=report(
            f"{ROOT}/figures/training_curves_{{dataset}}.png",
            caption="../report/training_curves.rst",
            category="Training",
            labels={
                "dataset": "{dataset}",
                "mask": "all",
                "method": "all",
                "seed": "all",
            },
        ),
        each=report(
            directory(f"{ROOT}/figures/training_curves_{{dataset}}"),
            patterns=["{mask}/{method}/seed{seed}.png"],
            caption="../report/training_curves.rst",
            category="Training",
            labels={
                "dataset": "{dataset}",
                "mask": "{mask}",
                "method": "{method}",
                "seed": "{seed}",
            },
        ),
    log:
        f"{ROOT}/logs/training_curves_{{dataset}}.log",
    conda:
        "../../environment.yml"
    params:
        plan=lambda wildcards: to_json(PLAN.curves(wildcards.dataset)),
        embedded=lambda wildcards: (
            ["--embedded"]
            if DATASETS[wildcards.dataset]["source"] == "embedded"
            else []
        ),
        planned=lambda wildcards: planned(
            run
            for run in RUNS
            if run.dataset == wildcards.dataset and PLAN.trained(run.method)
        ),
        results=subpath(output.together, ancestor=2),
    shell:
        "python -m workflow.figures.training_curves --results {params.results:q} --dataset {wildcards.dataset:q} "
        "--plan {params.plan:q} --planned {params.planned:q} {params.embedded:q} --output {output.together:q} "
        "--each {output.each:q} > {log:q} 2>&1"


rule paper_figures:
    input:
        expand(
            f"{ROOT}/figures/figure_{{number}}.{{kind}}",
            number=PLAN.figure_definitions,
            kind=("pdf", "png"),
        ),
