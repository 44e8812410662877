"""From prepared data to the page of results; rule file, folder and command share a name:

    estimate.py subset.py lease.py summary.py verify.py compare/        commands for people
    export.py draw.py score.py predict.py weights.py check_*.py new_paper.py
    rules/ schemas/ report/ resources/ plugins/     Snakemake's
    metrics/        one file per metric; volumes, GPU, conventions
    provenance/     sources of a step, version of the code, footers, provenance.json
    run/            one run: spec, identity, model, checkpoint, device
    papers/         one folder per paper: its tables, figures, values and claims
    plan/           what a configuration asks for, as plain data
    train/          the loop, and the state that resumes
    evaluate/       scores and examples of one run
    statistics/     metrics.parquet, cells, tests
    tables/ figures/ claims/ trust/ cost/ tune/     what is printed
    page/           index.html

Nothing imports from a floor above its own (tests/helpers/floors.py holds their order, ground first); no
__init__.py imports anything, or rules would miss sources. docs/architecture.md is the map.
"""
