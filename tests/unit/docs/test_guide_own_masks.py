"""The guide to masks from files and to shared preparation, followed word for word."""

import re

from guides import follow, output_of, shown

GUIDE = "own_masks.md"


def test_the_guide_does_what_it_says(tmp_path):
    said = follow(GUIDE, tmp_path)
    plans = [output for command, output in said if command == "python -m workflow.plan mine.yaml"]
    assert plans == [shown(GUIDE, "ixi/1d_uniform_6x")]

    def named(output):
        return re.sub(r"(?<=ixi-)[0-9a-f]{10}", "KEY", output)

    (mine,) = (output for command, output in said if command.endswith("mine.yaml --places"))
    (longer,) = (output for command, output in said if command.endswith("longer.yaml --places"))
    assert mine == longer
    # Keys follow from all that a configuration can say of a dataset, also from what is new in it.
    assert named(mine) == named(shown(GUIDE, "results/shared/aligned"))
    dry = output_of(said, "snakemake -n")
    assert re.search(r"^train +2$", dry, re.MULTILINE)
