"""`python -m app.reporting.schema` writes the evidence's definitions into the schema anew."""

from pathlib import Path

from app.reporting.schema import NAME, report_schema, schema_text, with_evidence

if __name__ == "__main__":
    (Path(__file__).parent / NAME).write_text(schema_text(with_evidence(report_schema())), "utf-8")
