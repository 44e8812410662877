"""What a claim's comparisons say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from workflow.claims.agreement import Scores
from workflow.claims.claims import NOT_IN_PAPER, Comparison, compare
from workflow.papers.claim import Claim


@dataclass(frozen=True)
class Judgement:
    """Whether a claim holds on one side.

    Attributes:
        answer: "holds", "mostly", "in part", "hardly", "does not hold" or "not judged".
        held: comparisons that speak for it.
        of: comparisons made.
        evidence: sentences.
    """

    answer: str
    held: int
    of: int
    evidence: str


MOST_NAMED = 4  # comparisons that a sentence lists


def judge(comparisons: Sequence[Comparison], reason: str) -> Judgement:
    """Weigh a claim's comparisons by the share that holds, see ``_answer``.

    Args:
        comparisons: what the claim yields.
        reason: why there may be none.
    """
    held = [comparison for comparison in comparisons if comparison.holds]
    failed = [comparison for comparison in comparisons if not comparison.holds]
    if not comparisons:
        return Judgement("not judged", 0, 0, reason)
    sentences = [f"{len(held)} of {len(comparisons)} comparisons."]
    if failed:
        named = [f"{one.place}: {one.values}" for one in failed[:MOST_NAMED]]
        more = len(failed) - len(named)
        sentences.append(f"Against: {'; '.join(named)}{f'; and {more} more' if more else ''}.")
    answer = _answer(len(held), len(comparisons))
    return Judgement(answer, len(held), len(comparisons), " ".join([*sentences, *_chance(held)]))


def _answer(held: int, of: int) -> str:
    """Say in a word how much of a claim holds: from three quarters on mostly, below one quarter hardly."""
    if held in (0, of):
        return "holds" if held else "does not hold"
    return "mostly" if 4 * held >= 3 * of else "hardly" if 4 * held < of else "in part"


def _chance(held: Sequence[Comparison]) -> list[str]:
    tested = [comparison.tested for comparison in held if comparison.tested]
    if not tested:
        return []
    if set(tested) == {"unreachable"}:
        return ["Too few test volumes to tell any of it from chance."]
    sure = tested.count("distinguishable")
    return [f"Beyond chance: {sure} of these {len(tested)}."]


def by_paper(claim: Claim, paper: Scores) -> Judgement:
    """Tell whether a claim holds in the paper's own tables."""
    return judge([] if claim.silent else list(compare(claim.form, paper)), claim.silent)


def judge_claims(
    claims: Sequence[Claim],
    paper: Scores,
    ours: Scores,
    of_masks: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return one row per claim: whether it holds in the paper's own tables and here, with the evidence.

    Questions that the paper does not ask follow, where this experiment answers them.

    Args:
        claims: of the paper.
        paper: what it prints.
        ours: what this experiment found.
        of_masks: by a table's numeral, what is to be said where its masks are compared.
    """
    records = []
    for claim in claims:
        comparisons = list(compare(claim.form, ours))
        if not (claim.section or comparisons):
            continue
        theirs = by_paper(claim, paper)
        compared = claim.masks.table if claim.masks and claim.masks.phase == "none" and comparisons else ""
        note = of_masks.get(compared, "")
        own = judge(comparisons, "This experiment has none of the runs that it needs.")
        records.append(
            {
                "claim": claim.name,
                "text": claim.text,
                "section": _place(claim.section),
                "judged_by": claim.judged_by,
                "paper": theirs.answer,
                "paper_held": theirs.held,
                "paper_comparisons": theirs.of,
                "paper_evidence": theirs.evidence,
                "here": own.answer,
                "here_held": own.held,
                "here_comparisons": own.of,
                "here_evidence": f"{own.evidence} {note}".rstrip(),
            }
        )
    return pd.DataFrame.from_records(records, columns=_COLUMNS)


def _place(section: str) -> str:
    """Say where a paper makes a claim: "section 4.2", or a part that has a name, such as "abstract"."""
    return section if section.islower() else f"section {section}" if section else NOT_IN_PAPER


_COLUMNS = (
    *("claim", "text", "section", "judged_by", "paper", "paper_held", "paper_comparisons", "paper_evidence"),
    *("here", "here_held", "here_comparisons", "here_evidence"),
)
