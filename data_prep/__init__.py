"""From raw scans to what a method reads. The folders tell the flow:

    check.py check_dataset.py check_mask.py     commands for people
    errors.py seeds.py fourier.py measurement.py volumes.py     ground, of which methods import much
    io/             files that may be damaged: whole, or refused by name
    contracts/      finding entries by existing; checks that report and go on
    registration/   rigid in space and in the slice plane, and its score
    phantom/        donors and simulated bodies: what made-up scans are made of
    datasets/       raw scans -> one aligned subject: the contract, the record, the steps align and embed,
                    and a folder per dataset
    prepare/        aligned subjects -> train, val, test
    masks/          families -> frozen mask sets
    undersample/    prepared slices -> measurements

Nothing imports from a folder below it in this list (tests/helpers/floors.py holds the order); no __init__.py
imports anything, or rules would miss sources. docs/architecture.md is the map.
"""
