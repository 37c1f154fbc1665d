"""What a model reads of a record: columns of the public schema, checked by what they declare.

Bounds, domains and alphabets are public declarations; none is ever taken from rows (R28).
"""

from app.domain.columns import NUMBERS, Column
from app.domain.datasets import Dataset
from app.domain.documents import read_list, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.training.models import TransformerLm
from app.domain.training.registry import CLASSES_MOST, WIDTH_MOST
from app.domain.training.spec import features_width


def parse_label(document: object, dataset: Dataset, pointer: str) -> Column:
    """The column whose public domain is the classes.

    Raises:
        InvalidParameter: unknown, an array, or without a public domain.
    """
    column = _column(document, dataset, pointer)
    if column.shape:
        raise InvalidParameter(pointer, "a label is one plain value")
    if column.domain is None or column.domain_source != "public":
        raise InvalidParameter(
            pointer, "a label needs a declared public domain; classes never come from rows"
        )
    if not 2 <= len(column.domain) <= CLASSES_MOST:
        raise InvalidParameter(pointer, f"between 2 and {CLASSES_MOST} classes are expected")
    return column


def parse_features(
    document: object, dataset: Dataset, label: str, pointer: str
) -> tuple[Column, ...]:
    """The numbers that a record feeds to a classifier, in the order of the spec.

    Raises:
        InvalidParameter: unknown, unbounded, twice, or too many.
    """
    names = read_list(document, pointer, least=1, most=WIDTH_MOST)
    columns: list[Column] = []
    for index, name in enumerate(names):
        at = under(pointer, index)
        column = _column(name, dataset, at)
        if column.name == label:
            raise InvalidParameter(at, "the label is not a feature")
        if column in columns:
            raise InvalidParameter(at, "this feature stands twice")
        if column.type != "bool" and (column.type not in NUMBERS or column.low is None):
            raise InvalidParameter(at, "a feature is a truth value, or a number with public bounds")
        if len(column.shape) > 1:
            raise InvalidParameter(at, "an array feature has one dimension")
        columns.append(column)
    if features_width(tuple(columns)) > WIDTH_MOST:
        raise InvalidParameter(pointer, f"at most {WIDTH_MOST} numbers a record are taken")
    return tuple(columns)


def _column(document: object, dataset: Dataset, pointer: str) -> Column:
    column = dataset.column(read_text(document, pointer, most=63))
    if column is None:
        raise InvalidParameter(pointer, "no column has this name")
    return column


def parse_language(
    document: object, dataset: Dataset, model: TransformerLm, pointer: str
) -> tuple[Column, ...]:
    """The one column that a language model learns from: a text, or a list of token numbers.

    Raises:
        InvalidParameter: more than one, or not what the model's options say.
    """
    names = read_list(document, pointer, least=1, most=1)
    at = under(pointer, 0)
    column = _column(names[0], dataset, at)
    if model.reads == "text":
        if column.type != "string" or column.shape:
            raise InvalidParameter(at, "a model with an alphabet learns from a column of texts")
        return (column,)
    if column.type != "int64" or len(column.shape) != 1:
        raise InvalidParameter(at, "a model with tokens learns from a list of int64 in one column")
    if column.low is None or column.low < 0 or column.high is None or column.high >= model.tokens:
        raise InvalidParameter(at, f"the column's bounds do not lie in 0 to {model.tokens - 1}")
    return (column,)
