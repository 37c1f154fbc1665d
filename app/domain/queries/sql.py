"""SQL as sugar: a SELECT over one dataset, read through an allow-list into the JSON spec.

The text is parsed and never run: what comes out is a document that is checked like any other, and
only the spec made from it is hashed, priced, stored and run. The first node that is not on the list
is refused with its line and column.

    SELECT keys, measures FROM the dataset [WHERE predicates] [GROUP BY keys]
    [HAVING released values] [ORDER BY released values or keys] [LIMIT n]

Keys are columns, with public keys where the dataset declares a public domain and private ones where
it declares these, and `BIN(column, edge, edge, ...)`. Measures are COUNT(*), COUNT(column),
COUNT(DISTINCT unit), SUM, AVG, VAR_POP, STDDEV_POP, MEDIAN, QUANTILE(column, q), HISTOGRAM(column,
bins) and TOP_K(column, k); a column of values may be `CLAMP(column, low, high[, grid])` where the
dataset declares no bounds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from app.domain.datasets import Dataset
from app.domain.documents import read_object, read_text
from app.domain.errors import SqlNotAccepted
from app.domain.queries.places import Places

if TYPE_CHECKING:
    from sqlglot import exp

TEXT_MOST: Final = 20_000
DIALECT: Final = "duckdb"
_CLAUSES: Final = ("expressions", "from_", "where", "group", "having", "order", "limit", "joins")


def read_sql(
    document: Mapping[str, Any], dataset: Dataset, pointer: str
) -> tuple[dict[str, Any], Places]:
    """The spec document that a SQL text asks for, and where in the text each part of it stands.

    Args:
        document: `{"sql", "privacy"}` with optional `bounds` and `confidence`, as in a spec.
        dataset: the private dataset that the text names in FROM.
        pointer: where the document stands in the request.

    Raises:
        SqlNotAccepted: the text does not parse, or a node in it is not on the list.
        InvalidParameter: the document around the text is malformed.
    """
    fields = read_object(
        document, pointer, required=("sql", "privacy"), optional=("bounds", "confidence")
    )
    text = read_text(fields["sql"], f"{pointer}/sql", most=TEXT_MOST)
    places = Places(f"{pointer}/sql", text)
    select = _parse(text, places)
    read = _Reader(dataset, places).select(select)
    kept = {key: fields[key] for key in ("privacy", "bounds", "confidence") if key in fields}
    return {"v": 1, **read, **kept}, places


def _parse(text: str, places: Places) -> "exp.Select":
    import sqlglot
    from sqlglot import errors, exp

    try:
        trees = sqlglot.parse(text, read=DIALECT)
    except errors.ParseError as failed:
        known = failed.errors[0] if failed.errors else {}
        line, column = known.get("line") or 1, known.get("col") or 1
        start = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
        raise places.refusal(start, "this is not SQL that can be read") from None
    except (errors.SqlglotError, RecursionError):
        raise places.refusal(len(text), "this is not SQL that can be read") from None
    if len(trees) != 1:
        second = next((tree for tree in trees[1:] if tree is not None), None)
        start = len(text) if second is None else places.start_of(second)
        raise places.refusal(start, "one statement is read")
    tree = trees[0]
    if not isinstance(tree, exp.Select):
        raise places.refusal(0, "a SELECT is expected")
    return tree


class _Reader:
    def __init__(self, dataset: Dataset, places: Places) -> None:
        self._dataset = dataset
        self._places = places
        self._names: set[str] = set()
        self._measures: list[dict[str, Any]] = []
        self._released: dict[str, str] = {}

    def select(self, tree: "exp.Select") -> dict[str, Any]:
        from sqlglot import exp

        for clause, value in tree.args.items():
            if clause not in _CLAUSES and value:
                inner = value[0] if isinstance(value, list) else value
                raise self._refuse(
                    inner if isinstance(inner, exp.Expr) else tree, "this clause is not accepted"
                )
        self._read_from(tree)
        if tree.args.get("joins"):
            raise self._refuse(tree.args["joins"][0], "joins come as the typed spec")
        document: dict[str, Any] = {}
        if (where := tree.args.get("where")) is not None:
            document["where"] = self._conditions(where.this)
        groups = self._groups(tree.args.get("group"))
        document["group_by"] = list(groups.values())
        for item in tree.expressions:
            self._read_item(item, groups)
        document["measures"] = self._measures
        if (having := tree.args.get("having")) is not None:
            document["having"] = self._having(having.this)
        if (order := tree.args.get("order")) is not None:
            document["order_by"] = [
                self._order(item, groups, index) for index, item in enumerate(order.expressions)
            ]
        if (limit := tree.args.get("limit")) is not None:
            document["limit"] = self._whole(limit.expression)
        return document

    def _refuse(self, node: "exp.Expr", reason: str) -> SqlNotAccepted:
        return self._places.refusal(self._places.start_of(node), reason)

    def _read_from(self, tree: "exp.Select") -> None:
        from sqlglot import exp

        source = tree.args.get("from_")
        table = None if source is None else source.this
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise self._refuse(tree if table is None else table, "FROM names the dataset")
        if any(table.args.get(key) for key in table.args if key not in ("this", "alias")):
            raise self._refuse(table, "FROM names the dataset and nothing else")
        if table.name.lower() != self._dataset.name.lower():
            raise self._refuse(table, f'the dataset is called "{self._dataset.name}"')
        self._names = {table.name, table.alias_or_name}

    def _groups(self, group: "exp.Group | None") -> dict[str, dict[str, Any]]:
        """The keys by their canonical text, in the order of GROUP BY."""
        groups: dict[str, dict[str, Any]] = {}
        if group is None:
            return groups
        for key, value in group.args.items():
            if key != "expressions" and value:
                raise self._refuse(group, "only a plain GROUP BY is accepted")
        for index, node in enumerate(group.expressions):
            self._places.keep(f"/group_by/{index}", node)
            groups[self._text(node)] = self._group(node)
        return groups

    def _group(self, node: "exp.Expr") -> dict[str, Any]:
        from sqlglot import exp

        if isinstance(node, exp.Anonymous) and node.name.upper() == "BIN" and node.expressions:
            column, *edges = node.expressions
            return {"bin": self._column(column), "edges": [self._number(edge) for edge in edges]}
        name = self._column(node)
        column = self._dataset.column(name)
        public = column is not None and column.domain_source == "public"
        return {"col": name, "keys": "domain" if public else "private"}

    def _read_item(self, item: "exp.Expr", groups: Mapping[str, Any]) -> None:
        from sqlglot import exp

        node = item.this if isinstance(item, exp.Alias) else item
        if self._text(node) in groups:
            return
        if isinstance(node, exp.Column):
            raise self._refuse(node, "a column stands in GROUP BY, or inside a measure")
        index = len(self._measures)
        self._places.keep(f"/measures/{index}", node)
        measure = self._measure(node)
        self._measures.append(measure)
        column, names = measure.get("col"), [measure["fn"]]
        if column is not None and measure["fn"] != "count_distinct":
            names = [f"{measure['fn']}({column})"]
            if "q" in measure:
                names = [f"quantile({column}, {q})" for q in measure["q"]]
        self._released[self._text(node)] = names[0]
        if isinstance(item, exp.Alias):
            self._released[item.alias] = names[0]

    def _measure(self, node: "exp.Expr") -> dict[str, Any]:
        from sqlglot import exp

        plain: dict[type[exp.Expr], str] = {
            exp.Sum: "sum",
            exp.Avg: "mean",
            exp.VariancePop: "variance",
            exp.StddevPop: "stdev",
            exp.Min: "min",
            exp.Max: "max",
        }
        if type(node) in plain and self._has_only(node, "this"):
            return {"fn": plain[type(node)], **self._values(node.this)}
        if isinstance(node, exp.Count) and self._has_only(node, "this", "big_int"):
            return self._count(node)
        if isinstance(node, exp.Median) and self._has_only(node, "this"):
            return {"fn": "quantile", **self._values(node.this), "q": ["0.5"]}
        if isinstance(node, exp.Quantile) and self._has_only(node, "this", "quantile"):
            asked = str(self._number(node.args["quantile"]))
            return {"fn": "quantile", **self._values(node.this), "q": [asked]}
        if isinstance(node, exp.Anonymous) and len(node.expressions) == 2:
            first, second = node.expressions
            if node.name.upper() == "TOP_K":
                return {"fn": "top_k", "col": self._column(first), "k": self._whole(second)}
            if node.name.upper() == "HISTOGRAM":
                values = self._values(first)
                return {"fn": "histogram", **values, "bins": self._whole(second)}
        if isinstance(node, exp.Variance | exp.Stddev):
            raise self._refuse(node, "the population's figure is given: VAR_POP or STDDEV_POP")
        raise self._refuse(node, "this is no measure that is accepted")

    def _count(self, node: "exp.Count") -> dict[str, Any]:
        from sqlglot import exp

        if isinstance(node.this, exp.Star) and not any(node.this.args.values()):
            return {"fn": "count"}
        if isinstance(node.this, exp.Distinct):
            if len(node.this.expressions) == 1 and self._has_only(node.this, "expressions"):
                return {"fn": "count_distinct", "col": self._column(node.this.expressions[0])}
            raise self._refuse(node, "one column, that of the unit of privacy, is counted")
        return {"fn": "count", "col": self._column(node.this)}

    def _values(self, node: "exp.Expr") -> dict[str, Any]:
        """A column, or CLAMP(column, low, high[, grid]) with public bounds."""
        from sqlglot import exp

        called = isinstance(node, exp.Anonymous) and node.name.upper() == "CLAMP"
        if called and len(node.expressions) in (3, 4):
            column, *bounds = node.expressions
            texts = [str(self._number(bound)) for bound in bounds]
            named = dict(zip(("lo", "hi", "grid"), texts, strict=False))
            return {"col": self._column(column), **named}
        return {"col": self._column(node)}

    def _conditions(self, node: "exp.Expr") -> list[Any]:
        """The conjuncts of WHERE, each one predicate of the spec."""
        from sqlglot import exp

        found = []
        for index, each in enumerate(node.flatten() if isinstance(node, exp.And) else [node]):
            self._places.keep(f"/where/{index}", each)
            found.append(self._predicate(each))
        return found

    def _predicate(self, node: "exp.Expr") -> list[Any]:
        from sqlglot import exp

        if isinstance(node, exp.Paren):
            return self._predicate(node.this)
        if isinstance(node, exp.Not):
            return ["not", self._predicate(node.this)]
        if isinstance(node, exp.And | exp.Or):
            word = "and" if isinstance(node, exp.And) else "or"
            return [word, *(self._predicate(part) for part in node.flatten())]
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return [self._column(node.this), "is_null"]
        if isinstance(node, exp.In) and self._has_only(node, "this", "expressions"):
            listed = [self._literal(value) for value in node.expressions]
            return [self._column(node.this), "in", listed]
        if isinstance(node, exp.Between) and self._has_only(node, "this", "low", "high"):
            ends = [self._literal(node.args["low"]), self._literal(node.args["high"])]
            return [self._column(node.this), "between", ends]
        op = _operators().get(type(node))
        if op is None:
            raise self._refuse(node, "this is no condition that is accepted")
        left, right = node.this, node.expression
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            left, right, op = right, left, _TURNED.get(op, op)
        return [self._column(left), op, self._literal(right)]

    def _having(self, node: "exp.Expr") -> list[Any]:
        from sqlglot import exp

        found = []
        for index, each in enumerate(node.flatten() if isinstance(node, exp.And) else [node]):
            self._places.keep(f"/having/{index}", each)
            condition = each.this if isinstance(each, exp.Paren) else each
            op = _operators().get(type(condition))
            if op is None:
                raise self._refuse(condition, "HAVING compares a measure with a number")
            value = str(self._number(condition.expression))
            found.append([self._released_name(condition.this), op, value])
        return found

    def _order(self, node: "exp.Expr", groups: Mapping[str, Any], index: int) -> dict[str, Any]:
        from sqlglot import exp

        self._places.keep(f"/order_by/{index}", node)
        if not isinstance(node, exp.Ordered) or node.args.get("with_fill"):
            raise self._refuse(node, "ORDER BY names measures and keys")
        key = groups.get(self._text(node.this))
        by = self._released_name(node.this) if key is None else key.get("col", key.get("bin"))
        return {"by": by, "desc": bool(node.args.get("desc"))}

    def _released_name(self, node: "exp.Expr") -> str:
        name = self._released.get(self._text(node))
        if name is None:
            raise self._refuse(node, "this is no measure of the SELECT list, nor a key")
        return name

    def _column(self, node: "exp.Expr") -> str:
        from sqlglot import exp

        if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
            raise self._refuse(node, "a column is expected here")
        if node.args.get("db") or (node.table and node.table not in self._names):
            raise self._refuse(node, "a column of the dataset in FROM is expected")
        return node.name

    def _literal(self, node: "exp.Expr") -> Any:
        from sqlglot import exp

        if isinstance(node, exp.Boolean):
            return bool(node.this)
        if isinstance(node, exp.Literal) and node.is_string:
            return node.name
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
            kind = node.to.this
            if node.this.is_string and kind == exp.DataType.Type.DATE:
                return node.this.name
            times = (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ)
            if node.this.is_string and kind in times:
                return node.this.name.replace(" ", "T")
        number = self._number(node)
        return int(number) if number.lstrip("-").isdigit() else number

    def _number(self, node: "exp.Expr") -> str:
        from sqlglot import exp

        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
            return f"-{self._number(node.this)}"
        if isinstance(node, exp.Literal) and not node.is_string:
            return node.name
        raise self._refuse(node, "a literal is expected here")

    def _whole(self, node: "exp.Expr") -> int:
        text = self._number(node)
        if not text.isdigit() or len(text) > 18:
            raise self._refuse(node, "a whole number is expected here")
        return int(text)

    def _has_only(self, node: "exp.Expr", *names: str) -> bool:
        return not any(value for name, value in node.args.items() if name not in names)

    def _text(self, node: "exp.Expr") -> str:
        """The same text for the same expression, however it is written."""
        return node.name if node.key == "column" else node.sql(dialect=DIALECT)


_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _operators() -> "dict[type[exp.Expr], str]":
    from sqlglot import exp

    return {
        exp.EQ: "=",
        exp.NEQ: "!=",
        exp.LT: "<",
        exp.LTE: "<=",
        exp.GT: ">",
        exp.GTE: ">=",
    }
