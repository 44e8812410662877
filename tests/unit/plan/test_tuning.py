"""Equal tuning: the same settings and budget for all, scored on validation, or refused in a sentence."""

from typing import Any

import pytest
from published_masks import MASKS

from data_prep.errors import BadInput
from data_prep.io.json_files import from_json, to_json
from methods.registry import discover
from workflow.plan.config import check_config
from workflow.plan.definitions import TuningDefinition
from workflow.plan.page import own_files
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.tuning import TuningPlan
from workflow.provenance.files import leftovers

METHODS = discover()
GRID = {"lr": ["1e-3", 0.004], "betas": [[0.9, 0.99], [0.9, 0.999]]}
ON = {"masks": {"ixi": MASKS["ixi"][0], "fastmri": MASKS["fastmri"][0]}, "grid": {"lr": [0.001, 0.004]}}


def tuned(tuning: dict[str, Any] | None = None, **changes: Any) -> TuningPlan:
    """What a configuration of both datasets asks to try; keywords replace keys of the top level."""
    embedded = {"source": "embedded", "matrix": 64, "slices": 4, "splits": {"train": 3, "val": 2, "test": 2}}
    content = {
        "experiment": "test",
        "paper": "manet",
        "datasets": {
            "ixi": {**embedded, "masks": MASKS["ixi"][:2]},
            "fastmri": {**embedded, "masks": MASKS["fastmri"]},
        },
        "figures": [],
        "training": {"epochs": {"ixi": 3, "fastmri": 5}, "batch_size": 2},
        "tuning": ON | (tuning or {}),
        **changes,
    }
    return TuningPlan(Plan(check_config(content, METHODS), METHODS))


def test_every_trained_method_gets_every_setting_with_the_same_budget():
    plan = tuned({"grid": GRID, "epochs": 2, "seeds": [0, 1]})
    assert list(plan.settings.values()) == [
        {"lr": 0.001, "betas": [0.9, 0.99]},
        {"lr": 0.001, "betas": [0.9, 0.999]},
        {"lr": 0.004, "betas": [0.9, 0.99]},
        {"lr": 0.004, "betas": [0.9, 0.999]},
    ]
    trained = ["unet", "xiang", "dudornet", "manet"]
    tried = [(t.run.dataset, t.run.method, t.setting, t.run.seed) for t in plan.trials]
    assert tried == [
        (dataset, method, setting, seed)
        for dataset in ("ixi", "fastmri")
        for method in trained
        for setting in plan.settings
        for seed in (0, 1)
    ]
    assert {plan.spec(trial).training.epochs for trial in plan.trials} == {2}
    assert len({trial.path for trial in plan.trials}) == len(plan.trials)


def test_a_trial_is_the_methods_run_with_another_setting_scored_on_validation():
    plan = tuned(methods={"unet": {"parameters": {"channels": 8}, "optimiser": {"eps": 1e-6}}})
    trial = plan.trials[1]
    spec, run = plan.spec(trial), plan.plan.spec(trial.run)
    assert (trial.setting, spec.method) == ("lr0.004", "unet")
    assert spec.optimiser == run.optimiser | {"lr": 0.004}
    assert spec.scored == "val"
    assert spec.content()["scored"] == "val"
    assert "scored" not in run.content()
    # With the run's own setting and epochs the weights are the run's: the split that is scored moves none.
    same = {**spec.training_part(), "optimiser": run.optimiser}
    assert same == run.training_part()


def test_trials_take_the_experiments_epochs_unless_they_have_their_own():
    plan = tuned()
    assert [plan.epochs(name) for name in ("ixi", "fastmri")] == [3, 5]
    plan = tuned({"epochs": {"ixi": 1, "fastmri": 2}})
    assert [plan.epochs(name) for name in ("ixi", "fastmri")] == [1, 2]


def test_variants_inherit_or_are_tuned_and_points_of_the_grid_inherit():
    plan = tuned(figures=[9])
    ixi, fastmri = plan.definitions()
    assert [row.method for row in ixi.rows] == ["unet", "xiang", "dudornet", "manet"]
    assert set(ixi.inheriting) == {"manet-no_kspace", "manet-no_attention", "manet-sc", "manet-sc_cs"}
    assert "manet-a0.2-b0.2" in fastmri.inheriting
    ixi, fastmri = tuned({"variants": "tune"}, figures=[9]).definitions()
    assert {row.method for row in ixi.rows} >= {"manet", "manet-no_kspace", "manet-sc_cs"}
    assert ixi.inheriting == ()
    assert [row.method for row in fastmri.rows] == ["unet", "xiang", "dudornet", "manet"]


def test_some_methods_alone_are_tuned_if_asked_for_and_the_others_named():
    ixi, _ = tuned({"methods": ["manet", "unet"]}).definitions()
    assert [row.method for row in ixi.rows] == ["unet", "manet"]
    assert ixi.untuned == ("dudornet", "xiang")


def test_the_definition_reads_back_with_the_order_of_the_grid():
    found = tuned({"grid": {"lr": [0.01, 0.0005]}}).definitions()[0]
    again = from_json(TuningDefinition, to_json(found), "", "")
    assert again == found
    assert [setting.name for setting in again.settings] == ["lr0.01", "lr0.0005"]


def test_what_a_tuning_leaves_belongs_to_its_experiment():
    plan = tuned().plan
    names = ["tuning/winners.yaml", "tuning/trials/ixi/1d_uniform_6x/unet/lr0.001/seed0/run.json"]
    assert leftovers(names, own_files(TrustPlan(plan))) == []
    others = [
        "tuning/trials/ixi/1d_uniform_6x/unet/lr0.5/seed0/run.json",
        "tuning/trials/brats/1d_uniform_6x/unet/lr0.001/seed0/run.json",
        "tuning/trials_brats.csv",
    ]
    assert leftovers([*names, *others], own_files(TrustPlan(plan))) == sorted(others)
    without = Plan({key: value for key, value in plan.config.items() if key != "tuning"}, METHODS)
    assert leftovers(names, own_files(TrustPlan(without))) == sorted(names)


def test_winners_differ_by_dataset_and_a_variant_may_have_its_own():
    changes = {
        "manet": {"optimiser": {"lr": {"ixi": "2e-3", "fastmri": 0.003}}},
        "manet-no_kspace": {"optimiser": {"lr": 0.007}},
    }
    plan = tuned(methods=changes).plan
    rates = {
        (run.dataset, run.method): plan.spec(run).optimiser["lr"]
        for run in plan.runs
        if plan.trained(run.method)
    }
    assert rates["ixi", "manet"] == 0.002
    assert rates["fastmri", "manet"] == 0.003
    assert rates["ixi", "manet-no_attention"] == 0.002
    assert rates["ixi", "manet-no_kspace"] == 0.007
    assert rates["ixi", "unet"] == 0.001


@pytest.mark.parametrize(
    ("tuning", "changes", "said"),
    [
        (
            {"grid": {"width": [8, 16]}},
            {},
            "tuning.grid.width: no option of an optimiser; their",
        ),
        ({"grid": {"momentum": [0.1, 0.9]}}, {}, "tuning.grid (for unet).momentum: no option of adam"),
        ({"grid": {"lr": [0.1, -1]}}, {}, "tuning.grid (for unet).lr: is -1; give a number above 0"),
        ({"grid": {"lr": [0.001]}}, {}, "tuning.grid.lr: has 1 value, which leaves nothing to choose"),
        ({"grid": {"lr": [0.001, "1e-3"]}}, {}, "tuning.grid.lr: 0.001 is there twice; remove one"),
        ({"grid": {}}, {}, "tuning.grid: {} "),
        (
            {"masks": ON["masks"] | {"ixi": "2d_spiral_9x"}},
            {},
            "tuning.masks.ixi: '2d_spiral_9x' does not stand",
        ),
        (
            {"masks": ON["masks"] | {"ixi": "zigzag_3x"}},
            {},
            "tuning.masks.ixi: 'zigzag_3x' does not stand in",
        ),
        (
            {"masks": ON["masks"] | {"brats": "1d_uniform_6x"}},
            {},
            "tuning.masks.brats: there is no datasets.brats",
        ),
        ({"masks": {"ixi": MASKS["ixi"][0]}}, {}, "tuning.masks: names no mask for fastmri, where methods"),
        ({"methods": ["zf"]}, {}, "tuning.methods: 'zf' is not trained"),
        ({"methods": ["manet-sc"]}, {}, "tuning.methods: 'manet-sc' is a variant"),
        ({"methods": ["nobody"]}, {}, "tuning.methods: unknown method 'nobody'"),
        ({"methods": ["varnet"]}, {}, "tuning.masks.ixi: no method that is to be tuned is trained on ixi"),
        ({"epochs": {"ixi": 1}}, {}, "tuning.epochs: no number for fastmri"),
        ({"trials": 3}, {}, "tuning: Additional properties are not allowed ('trials' was unexpected)"),
        ({}, {"compare": ["zf"], "tables": [1, 2]}, "tuning.masks.ixi: no method that is to be tuned"),
        (
            {},
            {"methods": {"manet": {"optimiser": {"lr": {"ixi": 0.1}}}}},
            "methods.manet.optimiser.lr: no value for fastmri; add it, or give one for all",
        ),
        (
            {},
            {"methods": {"manet": {"optimiser": {"lr": {"ixy": 0.1}}}}},
            "methods.manet.optimiser: there is no dataset 'ixy'",
        ),
        (
            {},
            {"methods": {"manet-sc": {"parameters": {"width": 8}}}},
            "methods.manet-sc.parameters: a variant may have an optimiser of its own",
        ),
        (
            {},
            {"methods": {"manet-nope": {"optimiser": {"lr": 0.1}}}},
            "methods.manet-nope: 'manet' has no such",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_a_sentence(tuning, changes, said):
    with pytest.raises(BadInput) as refused:
        tuned(tuning, **changes)
    assert said in str(refused.value)


def test_a_validation_split_without_subjects_is_refused():
    with pytest.raises(BadInput, match=r"datasets\.ixi\.splits\.val: 0 is less than the minimum of 1"):
        tuned(
            datasets={
                "ixi": {
                    "source": "embedded",
                    "matrix": 64,
                    "slices": 4,
                    "splits": {"train": 3, "val": 0, "test": 2},
                    "masks": ["1d_uniform_6x"],
                }
            }
        )


def test_without_the_section_nothing_is_tried_and_asking_is_refused():
    plan = TuningPlan(Plan({k: v for k, v in tuned().plan.config.items() if k != "tuning"}, METHODS))
    assert plan.trials == []
    with pytest.raises(BadInput, match=r"there is no section tuning; add one such as tuning: \{masks"):
        plan.definitions()
