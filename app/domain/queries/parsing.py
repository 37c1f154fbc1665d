"""Checks a query document against the public schema: all that can be refused is refused here (L5).

Nothing in this file depends on a row. Every refusal carries a JSON pointer.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from app.domain.columns import parse_key
from app.domain.datasets import Dataset, UnitOfPrivacy
from app.domain.decimals import parse_decimal
from app.domain.documents import read_choice, read_integer, read_list, read_object, under
from app.domain.errors import (
    DeltaRequired,
    DomainError,
    InvalidParameter,
    MechanismNotPriced,
    RefusedByName,
)
from app.domain.privacy import LARGEST_DELTA, LEAST_DELTA
from app.domain.queries.joins import joined, parse_joins
from app.domain.queries.measures import (
    LIMIT_MOST,
    find_number,
    parse_edges,
    parse_having,
    parse_measures,
    parse_order,
)
from app.domain.queries.predicates import find_column, parse_where
from app.domain.queries.spec import (
    Bins,
    GroupBy,
    NoiseChoice,
    PrivateKeys,
    PublicKeys,
    QuerySpec,
)

GROUPINGS_MOST: Final = 5
LEAST_EPSILON: Final = Decimal("1e-6")
LARGEST_EPSILON: Final = Decimal(1_000)
CONFIDENCE: Final = Decimal("0.95")


def parse_query(
    document: object,
    dataset: Dataset,
    pointer: str = "/spec",
    others: Mapping[str, Dataset] = MappingProxyType({}),
) -> QuerySpec:
    """A query, checked against the public schema, with every default written out.

    Args:
        document: the versioned JSON form, or SQL text with the privacy asked for; `dataset` and
            `unit` stand in the job, not here.
        dataset: the private dataset that the query runs over.
        pointer: where the document stands in the request.
        others: by id, the public datasets and other inputs that the query may join.

    Raises:
        InvalidParameter: malformed, unknown, out of range or of another type.
        BoundsRequired: a sum or mean without public bounds or grid.
        DeltaRequired: private keys or Gaussian noise with a delta of 0.
        RefusedByName: min, max, or private values given as public keys (R28).
        MechanismNotPriced: the dataset's relation has no query mechanisms (R7).
        SqlNotAccepted: SQL text that holds more than the accepted nodes; line and column.
    """
    if isinstance(document, Mapping) and "sql" in document:
        from app.domain.queries.sql import read_sql

        read, places = read_sql(document, dataset, pointer)
        try:
            return parse_query(read, dataset, pointer, others)
        except DomainError as refusal:
            raise places.moved(refusal, pointer) from refusal
    fields = read_object(
        document,
        pointer,
        required=("v", "measures", "privacy"),
        optional=(
            "where",
            "group_by",
            "bounds",
            "confidence",
            "having",
            "order_by",
            "limit",
            "joins",
        ),
    )
    read_integer(fields["v"], f"{pointer}/v", low=1, high=1)
    unit = require_priced_unit(dataset)
    joins = parse_joins(fields.get("joins", []), dataset, others, f"{pointer}/joins")
    dataset = joined(dataset, joins, others)
    where = parse_where(fields.get("where", []), dataset, f"{pointer}/where")
    group_by = parse_group_by(fields.get("group_by", []), dataset, f"{pointer}/group_by")
    measures = parse_measures(fields["measures"], dataset, f"{pointer}/measures")
    groups, rows = _parse_caps(fields.get("bounds", {}), unit, f"{pointer}/bounds")
    epsilon, delta, noise = parse_privacy(fields["privacy"], f"{pointer}/privacy")
    confidence = parse_decimal(fields.get("confidence", "0.95"), f"{pointer}/confidence")
    if confidence != CONFIDENCE:
        raise InvalidParameter(f"{pointer}/confidence", "intervals are given at 0.95")
    having = parse_having(fields.get("having", []), measures, f"{pointer}/having")
    order_by = parse_order(fields.get("order_by", []), measures, group_by, f"{pointer}/order_by")
    limit = None
    if fields.get("limit") is not None:
        limit = read_integer(fields["limit"], f"{pointer}/limit", low=1, high=LIMIT_MOST)
    spec = QuerySpec(
        where=where,
        group_by=group_by,
        measures=measures,
        max_groups=groups,
        max_rows=rows,
        epsilon=epsilon,
        delta=delta,
        noise=noise,
        confidence=confidence,
        having=having,
        order_by=order_by,
        limit=limit,
        joins=joins,
    )
    if delta == 0 and spec.has_private_keys:
        raise DeltaRequired(f"{pointer}/privacy/delta", "private keys pass a threshold")
    return spec


def require_priced_unit(dataset: Dataset) -> UnitOfPrivacy:
    """The unit of a dataset whose queries are proven and bounded.

    Raises:
        InvalidParameter: the dataset is public, or declares no query caps for its users.
        MechanismNotPriced: its relation has no query mechanisms (R7).
    """
    if dataset.access != "private" or dataset.unit is None or dataset.relation is None:
        raise InvalidParameter(
            "/inputs/0/dataset_id", "queries are charged for a private dataset; this one is public"
        )
    if dataset.relation == "zero_out":
        raise MechanismNotPriced(
            "query", "zero_out", "queries are proven for add_remove and replace_one"
        )
    if dataset.unit.kind != "record" and dataset.unit.max_groups_per_user is None:
        raise InvalidParameter(
            "/inputs/0/dataset_id", "the dataset declares no query caps for its users"
        )
    return dataset.unit


def _parse_caps(document: object, unit: UnitOfPrivacy, pointer: str) -> tuple[int, int]:
    """max_groups and max_rows: at most what the dataset declares, which is also the default."""
    fields = read_object(document, pointer, optional=("max_groups", "max_rows"))
    caps = {
        "max_groups": unit.max_groups_per_user or 1,
        "max_rows": unit.max_rows_per_user_group or 1,
    }
    values = {
        name: read_integer(fields.get(name, most), f"{pointer}/{name}", low=1, high=most)
        for name, most in caps.items()
    }
    return values["max_groups"], values["max_rows"]


def parse_privacy(document: object, pointer: str) -> tuple[Decimal, Decimal, NoiseChoice]:
    """A target: epsilon, delta (0 unless said) and the kind of noise.

    Raises:
        InvalidParameter: malformed or out of range.
        DeltaRequired: Gaussian noise with a delta of 0.
    """
    fields = read_object(document, pointer, required=("epsilon",), optional=("delta", "noise"))
    epsilon = parse_decimal(fields["epsilon"], f"{pointer}/epsilon")
    if not LEAST_EPSILON <= epsilon <= LARGEST_EPSILON:
        raise InvalidParameter(f"{pointer}/epsilon", f"from {LEAST_EPSILON} to {LARGEST_EPSILON}")
    delta = parse_decimal(fields.get("delta", "0"), f"{pointer}/delta")
    # Shares of delta are charged one by one; each must stay within what a ledger can hold.
    if delta and not 4 * LEAST_DELTA <= delta <= LARGEST_DELTA:
        raise InvalidParameter(
            f"{pointer}/delta", f"0, or from {4 * LEAST_DELTA} to {LARGEST_DELTA}"
        )
    noise = read_choice(fields.get("noise", "auto"), f"{pointer}/noise", get_args(NoiseChoice))
    if delta == 0 and noise == "discrete_gaussian":
        raise DeltaRequired(f"{pointer}/delta", "Gaussian noise has no bound at delta 0")
    return epsilon, delta, cast(NoiseChoice, noise)


def parse_group_by(document: object, dataset: Dataset, pointer: str) -> tuple[GroupBy, ...]:
    """The groups: private keys, public keys or public bins, one a column.

    Raises:
        InvalidParameter: malformed, an unknown column, or a column twice.
        RefusedByName: keys of a column without a public domain, given as public (R28).
    """
    entries = read_list(document, pointer, most=GROUPINGS_MOST)
    groups = tuple(
        _parse_grouping(entry, dataset, under(pointer, index))
        for index, entry in enumerate(entries)
    )
    for index, group in enumerate(groups):
        if any(group.column == earlier.column for earlier in groups[:index]):
            raise InvalidParameter(under(pointer, index), "this column is grouped by already")
    return groups


def _parse_grouping(document: object, dataset: Dataset, pointer: str) -> GroupBy:
    if isinstance(document, Mapping) and "bin" in document:
        return _parse_bins(document, dataset, pointer)
    fields = read_object(document, pointer, required=("col", "keys"))
    column = find_column(fields["col"], dataset, f"{pointer}/col")
    keys = fields["keys"]
    if keys == "private":
        if column.keys != "private":
            raise InvalidParameter(
                f"{pointer}/keys", "the dataset does not declare private keys for this column"
            )
        return PrivateKeys(column.name)
    if keys != "domain" and not isinstance(keys, list | tuple):
        raise InvalidParameter(f"{pointer}/keys", 'a list, "domain" or "private" is expected')
    if column.domain is None or column.domain_source != "public":
        raise RefusedByName(
            f"{pointer}/keys",
            "keys of a column without a public domain, given as public",
            "private keys, or a domain that the dataset declares as public",
        )
    if keys == "domain":
        return PublicKeys(column.name, column.domain)
    listed = read_list(keys, f"{pointer}/keys", least=1, most=len(column.domain))
    known = set(column.domain)
    chosen = tuple(
        parse_key(key, column.type, f"{pointer}/keys/{index}") for index, key in enumerate(listed)
    )
    for index, key in enumerate(chosen):
        if key not in known:
            raise InvalidParameter(f"{pointer}/keys/{index}", "not in the column's public domain")
    if len(set(chosen)) != len(chosen):
        raise InvalidParameter(f"{pointer}/keys", "a key stands twice")
    return PublicKeys(column.name, chosen)


def _parse_bins(document: Mapping[str, Any], dataset: Dataset, pointer: str) -> Bins:
    fields = read_object(document, pointer, required=("bin", "edges"))
    column = find_number(fields["bin"], dataset, f"{pointer}/bin")
    edges = parse_edges(fields["edges"], f"{pointer}/edges")
    return Bins(column.name, edges)
