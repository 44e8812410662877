"""The experiment on one offline page: tables, figures, controls, and a viewer of the example slices."""

from workflow.plan.page import index_definition, own_files

INDEX = index_definition(TRUST)


# What the report of Snakemake itself opens with.
report: "../report/workflow.rst"


rule index:
    input:
        files=[f"{ROOT}/{file}" for file in INDEX.files],
        resources=sorted(
            str(path)
            for folder in ("index", "third_party")
            for path in Path("workflow/resources", folder).iterdir()
        ),
        captions=sorted(
            {
                f"workflow/report/{picture.caption}.rst"
                for pictures in INDEX.pictures.values()
                for picture in pictures
            }
        ),
        named=NAMING_SOURCES,
        source=module_sources("workflow.page"),
    output:
        f"{ROOT}/index.html",
    log:
        f"{ROOT}/logs/index.log",
    conda:
        "../../environment.yml"
    params:
        definition=lambda wildcards: to_json(INDEX),
        results=subpath(output[0], parent=True),
    shell:
        "python -m workflow.page --definition {params.definition:q} --results {params.results:q} "
        "--output {output:q} > {log:q} 2>&1"
