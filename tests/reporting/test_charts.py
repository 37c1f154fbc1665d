"""Charts: one image with a title and a description, a table of the same numbers, nothing cut."""

import itertools
from datetime import date
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from app.reporting import charts, report
from app.reporting.charts import Chart, burn_down, odds_strip, trade_off
from app.reporting.statements.figures import trade_off_points
from tests.reporting.evidence_sample import sample, without_jobs

SVG = "{http://www.w3.org/2000/svg}"
DAYS = [
    {"day": "2027-01-03", "consumed": "0.25"},
    {"day": "2027-01-20", "consumed": "0.5"},
    {"day": "2027-02-14", "consumed": "0.75"},
]


def burnt(**changes: str | None) -> Chart:
    asked = {
        "limit": "1",
        "since": "2027-01-01",
        "as_of": "2027-03-02",
        "exhausted_on": "2027-04-01",
        "name": "burn-down",
        **changes,
    }
    return burn_down(DAYS, **asked)  # type: ignore[arg-type]


ALL = {
    "odds": odds_strip("61.3", name="odds", about="everything"),
    "odds of nothing": odds_strip("50", name="odds", about="nothing"),
    "odds nearly always": odds_strip("nearly always", name="odds", about="everything"),
    "trade-off": trade_off(trade_off_points("1.25", "1e-2"), name="trade"),
    "trade-off, pure": trade_off(trade_off_points("0.3", "0"), name="trade"),
    "trade-off, large": trade_off(trade_off_points("8", "1e-6"), name="trade"),
    "burn-down": burnt(),
    "burn-down without an end": burnt(exhausted_on=None),
    "burn-down that ends far off": burnt(exhausted_on="2036-01-01"),
    "burn-down that has ended": burnt(limit="0.75", exhausted_on="2027-03-02"),
    "burn-down of a day": burnt(since="2027-02-14", as_of="2027-02-14"),
}


def parsed(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg)


def spots(element: ElementTree.Element) -> list[tuple[Decimal, Decimal]]:
    pairs = (pair.split(",") for pair in element.attrib["points"].split())
    return [(Decimal(x), Decimal(y)) for x, y in pairs]


@pytest.mark.parametrize("name", ALL)
def test_a_chart_is_one_image_with_a_title_a_description_and_a_twin(name: str) -> None:
    root = parsed(ALL[name])
    assert root.attrib["role"] == "img"
    ids = root.attrib["aria-labelledby"].split()
    found = [root.find(f"{SVG}title"), root.find(f"{SVG}desc")]
    assert [each.attrib["id"] for each in found if each is not None] == ids
    assert all(each is not None and each.text for each in found)
    table = ALL[name].table
    assert table.caption == str(found[0].text)  # type: ignore[union-attr]
    assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize("name", ALL)
def test_a_chart_holds_no_script_no_style_and_nothing_from_elsewhere(name: str) -> None:
    for element in parsed(ALL[name]).iter():
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "desc", "rect", "path", "polyline", "polygon", "circle", "text", "g",
        }  # fmt: skip
        assert not {"style", "class", "href", "onload"} & set(element.attrib)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_drawn_outside_the_picture(name: str) -> None:
    root = parsed(ALL[name])
    width, height = Decimal(root.attrib["width"]), Decimal(root.attrib["height"])
    turned = {text for group in root.iter(f"{SVG}g") for text in group}
    for element in root.iter():
        if "points" in element.attrib:
            for x, y in spots(element):
                assert charts.LEFT <= x <= width - charts.RIGHT
                assert charts.TOP <= y <= height - charts.BOTTOM
        if element.tag == f"{SVG}text" and element not in turned:
            # no letter of a plain font is wider than 0.65 of its height on average
            long = Decimal(len(str(element.text)) * 14) * Decimal("0.65")
            x = Decimal(element.attrib["x"])
            anchor = {"start": Decimal(0), "middle": long / 2, "end": long}
            left = x - anchor[element.attrib["text-anchor"]]
            assert left >= 0
            assert left + long <= width


@pytest.mark.parametrize(
    ("shown", "more"), [("50", 0), ("50.1", 1), ("61.3", 12), ("99.5", 50), ("nearly always", 50)]
)
def test_the_strip_has_a_hundred_guesses_rounded_against_us(shown: str, more: int) -> None:
    chart = odds_strip(shown, name="odds", about="everything")
    assert [int(row[1]) for row in chart.table.rows] == [50, more, 50 - more]
    boxes = [each for each in parsed(chart).iter(f"{SVG}rect") if each.attrib["width"] == "20"]
    assert len(boxes) == 100 + more  # a striped guess has a frame above its stripes
    assert sum(each.attrib["fill"] == charts.BLUE for each in boxes) == 50


def test_the_bound_is_drawn_through_the_corners_of_its_table() -> None:
    points = trade_off_points("1.25", "1e-2")
    chart = trade_off(points, name="trade")
    assert chart.table.rows == tuple(
        (each["false_alarm_percent"], each["caught_percent"]) for each in points
    )
    bound = next(
        each
        for each in parsed(chart).iter(f"{SVG}polyline")
        if each.attrib["stroke"] == charts.BLUE
    )
    blind = next(
        each
        for each in parsed(chart).iter(f"{SVG}polyline")
        if each.attrib["stroke"] == charts.FAINT
    )
    assert len(spots(bound)) == len(points)
    (x0, y0), (x1, y1) = spots(blind)
    for (x, y), (across, up) in zip(spots(bound), chart.table.rows, strict=True):
        assert abs((x - x0) / (x1 - x0) * 100 - Decimal(across)) < Decimal("0.01")
        assert abs((y - y0) / (y1 - y0) * 100 - Decimal(up)) < Decimal("0.01")


def test_what_is_left_steps_down_day_by_day_and_the_pace_is_dashed() -> None:
    chart = burnt()
    assert [row[2] for row in chart.table.rows] == ["0.75", "0.5", "0.25"]
    past, ahead = parsed(chart).iter(f"{SVG}polyline")
    heights = [y for _, y in spots(past)]
    assert heights == sorted(heights)
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(spots(past)))
    assert "stroke-dasharray" in ahead.attrib
    assert spots(ahead)[0] == spots(past)[-1]
    corner = (Decimal(charts.WIDTH - charts.RIGHT), Decimal(charts.HEIGHT - charts.BOTTOM))
    assert spots(ahead)[1] == corner
    assert len(list(parsed(burnt(exhausted_on=None)).iter(f"{SVG}polyline"))) == 1


def test_a_pace_that_ends_far_off_is_not_drawn_to_its_end_nor_too_low() -> None:
    far = parsed(burnt(exhausted_on="2027-06-30"))
    past, ahead = far.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1) = spots(ahead)
    days = (date(2027, 6, 30) - date(2027, 3, 2)).days
    full = charts.HEIGHT - charts.BOTTOM - y0
    assert abs((y1 - y0) / full - Decimal(60) / days) < Decimal("0.01")
    assert x1 - x0 == x0 - spots(past)[0][0]


def test_a_budget_that_no_epsilon_bounds_has_nothing_left() -> None:
    gone = burn_down(
        [{"day": "2027-01-03", "consumed": "Infinity"}],
        limit="1",
        since="2027-01-01",
        as_of="2027-01-05",
        exhausted_on="2027-01-05",
        name="gone",
    )
    assert gone.table.rows == (("2027-01-03", "Infinity", "0"),)


def test_a_name_is_text_and_never_markup() -> None:
    chart = odds_strip("61.3", name='a" onload="x', about="<script>alert('x')</script> & co")
    root = parsed(chart)
    assert "onload" not in root.attrib
    assert "<script>alert('x')</script> & co" in str(root.find(f"{SVG}desc").text)  # type: ignore[union-attr]


def test_the_charts_of_a_report_come_from_its_statements_and_are_the_same_each_time() -> None:
    statements = report.build(sample())["statements"]
    found = charts.statement_charts(statements)
    assert sorted(found) == ["burn-down", "odds", "trade-off"]
    assert found == charts.statement_charts(report.build(sample())["statements"])
    assert found["burn-down"].table.rows[-1][1] == statements["officer"]["committed"]["epsilon"]
    assert charts.statement_charts(report.build(without_jobs())["statements"])["burn-down"]
    assert charts.statement_charts({"subject": None, "officer": None, "auditor": None}) == {}
