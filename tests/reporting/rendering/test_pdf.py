"""The PDF of a report: tagged as PDF/UA-1, the same bytes each time, no text cut or covered."""

import io
import json
import re
from typing import Any

import pypdf
import pytest
import typst
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from app.reporting import report
from app.reporting.rendering import to_pdf
from app.reporting.rendering.pdf import _ALPHABETS, _SIGNS, settable
from tests.reporting.evidence_sample import sample
from tests.reporting.rendering.pdf_pages import overlapping, rendered, text_boxes

# Points; the least distance of ink from the edge of the sheet, and what two words may share.
LEAST_MARGIN = 40.0
SLACK = 0.5


@pytest.fixture(scope="module")
def data() -> bytes:
    return to_pdf(report.build(sample()))


@pytest.fixture(scope="module")
def reader(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data))


def tags(node: Any) -> list[str]:
    """The names of all structure elements below a node, in reading order."""
    if isinstance(node, IndirectObject):
        node = node.get_object()
    if isinstance(node, ArrayObject):
        return [name for each in node for name in tags(each)]
    if not isinstance(node, DictionaryObject):
        return []
    own = [str(node["/S"])] if "/S" in node else []
    return own + (tags(node["/K"]) if "/K" in node else [])


def nodes(node: Any, name: str) -> list[Any]:
    """All structure elements of a name below a node."""
    if isinstance(node, IndirectObject):
        node = node.get_object()
    if isinstance(node, ArrayObject):
        return [found for each in node for found in nodes(each, name)]
    if not isinstance(node, DictionaryObject):
        return []
    own = [node] if node.get("/S") == name else []
    return own + (nodes(node["/K"], name) if "/K" in node else [])


def text_of(reader: pypdf.PdfReader) -> str:
    whole = " ".join(page.extract_text() for page in reader.pages)
    return re.sub(r"\s+", " ", whole.replace("\u200b", ""))


def typeset(source: str) -> bytes:
    made: bytes = typst.compile(source.encode(), format="pdf", ignore_system_fonts=True)
    return made


def test_the_same_report_gives_the_same_bytes(data: bytes) -> None:
    assert to_pdf(report.build(sample())) == data


def test_it_says_that_it_is_tagged_and_in_which_language_under_which_title(
    reader: pypdf.PdfReader, data: bytes
) -> None:
    catalog: Any = reader.trailer["/Root"]
    assert bool(catalog["/MarkInfo"]["/Marked"])
    assert catalog["/Lang"] == "en"
    assert catalog["/ViewerPreferences"]["/DisplayDocTitle"]
    metadata = catalog["/Metadata"].get_data().decode("utf-8")
    assert re.search(r"pdfuaid:part(>|=\")1", metadata)
    assert reader.metadata is not None
    assert reader.metadata.title == f"flights: {report.TITLE}"


def test_no_date_is_in_it(reader: pypdf.PdfReader) -> None:
    assert reader.metadata is not None
    assert reader.metadata.creation_date is None
    catalog: Any = reader.trailer["/Root"]
    assert b"CreateDate" not in catalog["/Metadata"].get_data()


def test_its_structure_has_headings_tables_with_heads_and_lists(reader: pypdf.PdfReader) -> None:
    catalog: Any = reader.trailer["/Root"]
    found = tags(catalog["/StructTreeRoot"]["/K"])
    for name in ("/H1", "/H2", "/Table", "/TR", "/TH", "/TD", "/Caption", "/L", "/LI", "/P"):
        assert name in found, name
    assert found.count("/H1") == 13
    assert found.count("/Table") > 20


def test_every_table_has_heads_that_say_what_they_are_of(reader: pypdf.PdfReader) -> None:
    catalog: Any = reader.trailer["/Root"]
    for table in nodes(catalog["/StructTreeRoot"]["/K"], "/Table"):
        heads = nodes(table, "/TH")
        assert heads
        for head in heads:
            attributes = head["/A"].get_object()
            each = attributes if isinstance(attributes, ArrayObject) else [attributes]
            assert any(one.get_object().get("/Scope") == "/Column" for one in each)


def test_every_drawing_is_told_in_words(reader: pypdf.PdfReader) -> None:
    catalog: Any = reader.trailer["/Root"]
    figures = nodes(catalog["/StructTreeRoot"]["/K"], "/Figure")
    assert len(figures) == 3
    assert all(len(str(figure["/Alt"])) > 40 for figure in figures)


def test_every_font_is_embedded(reader: pypdf.PdfReader) -> None:
    fonts = {}
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():  # type: ignore[attr-defined]
            whole = font.get_object()
            inner = whole.get("/DescendantFonts", [whole])[0].get_object()
            descriptor = inner["/FontDescriptor"].get_object()
            fonts[whole["/BaseFont"]] = any(key.startswith("/FontFile") for key in descriptor)
    assert fonts and all(fonts.values())


def test_no_text_is_cut_at_an_edge_and_no_two_words_lie_on_each_other(data: bytes) -> None:
    words = 0
    for (width, height), boxes in text_boxes(data):
        words += len(boxes)
        for box in boxes:
            assert box.left >= LEAST_MARGIN and box.right <= width - LEAST_MARGIN, box
            assert box.bottom >= LEAST_MARGIN and box.top <= height - LEAST_MARGIN, box
        assert overlapping(boxes, SLACK) == []
    assert words > 2000


@pytest.mark.parametrize("letter", ["W", "\u4f60", "-"])
def test_no_name_however_long_runs_over_an_edge_or_a_neighbour(letter: str) -> None:
    evidence, name = sample(), (letter * 200)[:200]
    evidence["dataset"]["name"] = name
    evidence["dataset"]["population"] = name
    evidence["dataset"]["description"] |= {"purpose": name, "raw_viewers": [name]}
    for budget in evidence["budgets"]:
        budget["name"] = name
    for job in evidence["jobs"]:
        job["purpose"] = name
    for attestation in evidence["attestations"]:
        attestation |= {"statement": name, "person_name": name}
    for (width, height), boxes in text_boxes(to_pdf(report.build(evidence))):
        assert all(LEAST_MARGIN <= box.left <= box.right <= width - LEAST_MARGIN for box in boxes)
        assert all(LEAST_MARGIN <= box.bottom <= box.top <= height - LEAST_MARGIN for box in boxes)
        assert overlapping(boxes, SLACK) == []


def test_words_on_each_other_and_words_past_the_edge_would_be_seen() -> None:
    covered = typeset("#place(top, [first word])\n#place(top, dx: 4pt, [second word])")
    ((_, boxes),) = list(text_boxes(covered))
    assert overlapping(boxes, SLACK)
    cut = typeset("#set page(margin: 10pt)\n#box(width: 2000pt)[#h(1fr) far away]")
    sheets = list(text_boxes(cut))
    assert any(
        box.left < LEAST_MARGIN or box.right > width - LEAST_MARGIN
        for (width, _), boxes in sheets
        for box in boxes
    )


def test_every_page_shows_something_and_none_is_black(data: bytes, reader: pypdf.PdfReader) -> None:
    for at in range(len(reader.pages)):
        width, height, pixels = rendered(data, at, 0.3)
        inked = sum(1 for value in pixels[::3] if value < 240) / (len(pixels) / 3)
        assert width > 100 and height > 100
        assert 0.001 < inked < 0.4, at + 1


def test_it_says_what_the_page_says(reader: pypdf.PdfReader) -> None:
    built = report.build(sample())
    text = text_of(reader)
    for said in (
        built["footer"],
        built["report_id"],
        built["integrity"]["content_sha256"],
        built["guarantee"]["lifetime"]["consumed"]["epsilon"],
        "evidence offered; no legal conclusion",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            "#panic()$x$ *bold* _it_ \\ `raw` <label> @ref",
            "#panic()$x$ *bold* _it_ \\ `raw` <label> @ref",
        ),
        ("\u4f60\u597d \U0001f600", "[U+4F60][U+597D] [U+1F600]"),
        ("a\u0301\u0007\u202e", "\u00e1[U+0007][U+202E]"),
    ],
)
def test_what_people_wrote_is_text_and_never_markup(written: str, read: str) -> None:
    evidence = sample()
    evidence["dataset"]["name"] = written
    evidence["dataset"]["description"]["purpose"] = written
    made = pypdf.PdfReader(io.BytesIO(to_pdf(report.build(evidence))))
    assert read in text_of(made)


def test_every_character_that_is_let_through_can_be_set() -> None:
    characters = [chr(at) for at in range(0x20, 0x3000) if settable(chr(at)) == chr(at)]
    assert len(characters) > 2000 and _ALPHABETS and _SIGNS
    source = (
        '#set document(title: "t", date: none)\n'
        '#set text(font: ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono"))\n'
        "#for each in json(bytes(sys.inputs.all)) [#each ]"
    )
    typst.compile(
        source.encode(),
        format="pdf",
        ignore_system_fonts=True,
        pdf_standards=["ua-1"],
        sys_inputs={"all": json.dumps(characters)},
    )
