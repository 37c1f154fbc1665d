"""Published deployments beside our own figures: only like with like, by unit, and never ranked.

A unit, a delta or a model that differs makes two epsilons incomparable, so `compare` refuses such a
pair with its reason and shows the rest. What was published as rho is shown as rho first; an epsilon
of ours for it names its formula. Sources that disagree on a unit are marked, and a disputed unit
agrees with none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

from app.domain.risk.concentrated import FORMULAS, Formula, epsilon_of
from app.reporting.statements.rounding import up

Reason = Literal[
    "not-differential-privacy",
    "not-confirmed",
    "no-parameters",
    "unit-not-stated",
    "unit-disputed",
    "unit-differs",
    "model-differs",
    "relation-differs",
    "delta-differs",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
WHY: Final[Mapping[Reason, str]] = {
    "not-differential-privacy": "it is not differential privacy",
    "not-confirmed": "its figure was not read at its publisher or in a registry",
    "no-parameters": "no parameters were published",
    "unit-not-stated": "its unit of privacy was not stated",
    "unit-disputed": "sources disagree on its unit of privacy",
    "unit-differs": "it protects another unit",
    "model-differs": "other parties are trusted with the rows",
    "relation-differs": "its neighbouring relation is another one",
    "delta-differs": "an epsilon at another delta says something else",
}
NOTE: Final = (
    "Others' figures are as published, for orientation. A smaller epsilon elsewhere makes ours"
    " neither right nor wrong: data, recipients and what else protects them differ."
)
PERIODS: Final = ("day", "week", "month", "quarter", "year")
DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Deployment:
    """One published use of differential privacy; amounts are decimal strings, None if unknown.

    unit: in words that are the same for the same unit; None where it was not stated.
    unit_as_published: as its source has it.
    relation: None where it was not stated.
    model: who is trusted with rows: `central`, `local` or `federated`.
    rho: where it was published as zCDP: the native parameter then.
    verification: `registry`, `primary`, `secondary` or worse.
    """

    organization: str
    product: str
    year: int
    unit: str | None
    unit_as_published: str
    unit_is_disputed: bool
    relation: str | None
    model: str
    model_as_published: str
    mechanism: str
    rho: str | None
    rho_range: tuple[str, ...] | None
    epsilon: str | None
    delta: str | None
    epsilon_range: tuple[str, ...] | None
    is_differential_privacy: bool
    is_confirmed: bool
    verification: str
    note: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnFigure:
    """Our own figure that others are put beside: what it protects, and at which delta it holds.

    unit: `record`, `user`, or `user-` and the period of a `user_period`.
    """

    unit: str
    relation: str
    model: str
    epsilon: str
    delta: str


@cache
def published() -> tuple[Deployment, ...]:
    """All deployments of the dated data that is shipped."""
    return tuple(_read(each) for each in catalogue()["deployments"])


@cache
def catalogue() -> dict[str, Any]:
    """The dated data as it is shipped, with its source and the day it was read."""
    text = (files("app.reporting") / "data" / "deployments.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def own_unit(kind: str, period: str | None = None) -> str:
    """The unit of a dataset in the words of `Deployment.unit`.

    kind: `record`, `user` or `user_period`; the last with its period.
    """
    if kind != "user_period":
        return kind
    if period not in PERIODS:
        raise ValueError("a user's period has a length")
    return f"user-{period}"


def refusal(own: OwnFigure, deployment: Deployment) -> Reason | None:
    """Why a deployment cannot stand beside our figure; None where it can."""
    if not deployment.is_differential_privacy:
        return "not-differential-privacy"
    if not deployment.is_confirmed:
        return "not-confirmed"
    if deployment.rho is None and deployment.epsilon is None:
        return "no-parameters"
    if deployment.unit is None:
        return "unit-not-stated"
    if deployment.unit_is_disputed:
        return "unit-disputed"
    if deployment.unit != own.unit:
        return "unit-differs"
    if deployment.model != own.model:
        return "model-differs"
    if deployment.relation not in (None, own.relation):
        return "relation-differs"
    return None if _agrees_in_delta(own, deployment) else "delta-differs"


def compare(own: OwnFigure, deployments: Sequence[Deployment] | None = None) -> dict[str, Any]:
    """Our figure and those that can stand beside it, and the reason for each that cannot.

    Args:
        own: our figure.
        deployments: those asked about; all that are published where it is None.

    Returns:
        {"own", "unit", "rows", "refused", "note", "as_of", "source"}: rows of one unit, in the
        order of their names and never of their epsilon, each with its native parameter first.
    """
    asked = published() if deployments is None else deployments
    rows, refused = [], []
    for each in sorted(asked, key=_name):
        reason = refusal(own, each)
        if reason is None:
            rows.append(_row(each, own.delta))
        else:
            refused.append(
                {
                    "organization": each.organization,
                    "product": each.product,
                    "reason": reason,
                    "why": WHY[reason],
                }
            )
    return {
        "own": {
            "unit": own.unit,
            "relation": own.relation,
            "model": own.model,
            "epsilon": own.epsilon,
            "delta": own.delta,
        },
        "unit": own.unit,
        "rows": rows,
        "refused": refused,
        "note": NOTE,
        "as_of": catalogue()["as_of"],
        "source": catalogue()["source"],
    }


def by_unit(deployments: Sequence[Deployment] | None = None) -> list[dict[str, Any]]:
    """Published deployments in groups of one unit, for reading: no group is put beside another.

    Left out is what is not differential privacy or was not confirmed. Within a group they stand in
    the order of their names.
    """
    asked = published() if deployments is None else deployments
    groups: dict[str, list[Deployment]] = {}
    for each in sorted(asked, key=_name):
        if each.is_differential_privacy and each.is_confirmed:
            groups.setdefault(each.unit or "not stated", []).append(each)
    return [
        {"unit": unit, "rows": [_row(each, each.delta) for each in groups[unit]]}
        for unit in sorted(groups)
    ]


def summed_rho(
    deployments: Sequence[Deployment], delta: str, formula: Formula = "classic"
) -> dict[str, str]:
    """What several releases published as rho come to together: rho adds, epsilons do not.

    Args:
        deployments: each with a rho.
        delta: at which the sum is converted.
        formula: by which it is; its text stands beside the figure.
    """
    with_rho = [Decimal(each.rho) for each in deployments if each.rho is not None]
    if len(with_rho) != len(deployments):
        raise ValueError("a release without a rho cannot be summed")
    total = sum(with_rho, Decimal(0))
    return {
        "rho": format(total.normalize(), "f"),
        "epsilon": up(epsilon_of(total, Decimal(delta), formula), DIGITS),
        "delta": delta,
        "formula": FORMULAS[formula],
    }


def together() -> list[dict[str, Any]]:
    """Releases on the same people whose rho are summed, because readers sum their epsilons."""
    files_of_2020 = [
        each
        for each in published()
        if each.product.startswith(("2020 redistricting", "2020 Demographic and Housing"))
    ]
    return [
        {
            "title": "2020 Census: redistricting data and DHC together",
            "products": [each.product for each in sorted(files_of_2020, key=_name)],
            **summed_rho(files_of_2020, "1e-10"),
            "note": "rho is summed over the files and converted once; the epsilons of the files are"
            " not added. Files of persons and of housing units have different units.",
        }
    ]


def _read(document: Mapping[str, Any]) -> Deployment:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    return Deployment(**fields)


def _agrees_in_delta(own: OwnFigure, deployment: Deployment) -> bool:
    """Equal deltas, or a rho, which is converted at ours where ours is above 0."""
    if deployment.delta is not None and Decimal(deployment.delta) == Decimal(own.delta):
        return True
    return deployment.rho is not None and Decimal(own.delta) > 0


def _row(each: Deployment, delta: str | None) -> dict[str, Any]:
    """A deployment as it is shown: native parameter first, then what was published, then ours.

    delta: at which a rho is converted; None where it was published without one.
    """
    return {
        "organization": each.organization,
        "product": each.product,
        "year": each.year,
        "native": _native(each),
        "epsilon": each.epsilon,
        "epsilon_range": None if each.epsilon_range is None else list(each.epsilon_range),
        "delta": each.delta,
        "converted": _converted(each, delta),
        "unit": each.unit,
        "unit_as_published": each.unit_as_published
        + (" (disputed)" if each.unit_is_disputed else ""),
        "unit_is_disputed": each.unit_is_disputed,
        "relation": each.relation or "not stated",
        "model": each.model_as_published,
        "mechanism": each.mechanism,
        "verification": each.verification,
        "note": each.note,
        "sources": list(each.sources),
    }


def _native(each: Deployment) -> dict[str, Any]:
    if each.rho is not None:
        return {"parameter": "rho of zCDP", "value": each.rho}
    if each.rho_range is not None:
        return {"parameter": "rho of zCDP", "value": " to ".join(each.rho_range)}
    if each.epsilon is None:
        return {"parameter": "not published", "value": None}
    return {"parameter": "epsilon", "value": each.epsilon}


def _converted(each: Deployment, delta: str | None) -> dict[str, str] | None:
    """Our own conversion of a published rho, by name; it may differ from what was published."""
    if each.rho is None or delta is None or Decimal(delta) == 0:
        return None
    return {
        "epsilon": _improved(each.rho, delta),
        "delta": delta,
        "formula": FORMULAS["improved"],
    }


@lru_cache(maxsize=256)
def _improved(rho: str, delta: str) -> str:
    return up(epsilon_of(Decimal(rho), Decimal(delta), "improved"), DIGITS)


def _name(each: Deployment) -> tuple[str, str]:
    return each.organization, each.product
