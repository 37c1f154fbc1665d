import { expect, test } from "vitest"
import type { Facts } from "./columns"
import { askedOf, formOf, lacksOf, newFilter, newGroup, newMeasure, type QueryForm } from "./query"
import { type Asked, sqlOf } from "./sql"

const facts: Facts = {
  name: "trips",
  nominal: 1000,
  unit: { kind: "user", column: "who", max_groups_per_user: 3 },
  columns: [
    { name: "who", type: "string" },
    { name: "month", type: "int64", domain: [1, 2, 3], domain_source: "public" },
    { name: "dest", type: "string", keys: "private" },
    { name: "distance", type: "int64", bounds: { low: "0", high: "5000" }, grid: "1" },
    { name: "Order", type: "string" },
    { name: "day", type: "date" },
    { name: "late", type: "bool" },
  ],
}

const form = (parts: Partial<QueryForm>): QueryForm => ({
  measures: [newMeasure()],
  groups: [],
  filters: [],
  ...parts,
})
const written = (parts: Partial<QueryForm>) => sqlOf(askedOf(form(parts), facts), facts)

test("a form writes figures, groups and conditions as one statement", () => {
  const text = written({
    measures: [newMeasure(), { ...newMeasure("mean"), column: "distance", high: "900" }],
    groups: [
      { ...newGroup(), column: "month" },
      { ...newGroup(), column: "distance", edges: "0, 100,500" },
    ],
    filters: [
      { ...newFilter(), column: "Order", op: "in", value: "it's, b" },
      { ...newFilter(), column: "day", op: "between", value: "2027-01-01", second: "2027-02-01" },
      { ...newFilter(), column: "late", value: "true" },
      { ...newFilter(), column: "dest", op: "not_null" },
    ],
  })
  expect(text).toBe(
    [
      "SELECT month, BIN(distance, 0, 100, 500), COUNT(*), AVG(CLAMP(distance, 0, 900))",
      "FROM trips",
      `WHERE "Order" IN ('it''s', 'b')`,
      "  AND day BETWEEN DATE '2027-01-01' AND DATE '2027-02-01'",
      "  AND late = TRUE",
      "  AND dest IS NOT NULL",
      "GROUP BY month, BIN(distance, 0, 100, 500)",
    ].join("\n"),
  )
})

test("bounds of the public schema are not said again, others are", () => {
  const of = (fn: string, more = {}) =>
    written({ measures: [{ ...newMeasure(fn), column: "distance", ...more }] })?.split("\n")[0]
  expect(of("sum", { low: "0", high: "5000.0", grid: "1" })).toBe("SELECT SUM(distance)")
  expect(of("sum", { grid: "10" })).toBe("SELECT SUM(CLAMP(distance, 0, 5000, 10))")
  expect(of("quantile", { quantile: "0.5" })).toBe("SELECT MEDIAN(distance)")
  expect(of("quantile", { quantile: "0.9" })).toBe("SELECT QUANTILE(distance, 0.9)")
  expect(of("histogram", { count: "20", low: "10" })).toBe(
    "SELECT HISTOGRAM(CLAMP(distance, 10, 5000), 20)",
  )
  expect(of("count_distinct")).toBe("SELECT COUNT(DISTINCT who)")
})

test("a value that is no literal of its column stays a text, which nothing runs", () => {
  const text = written({ filters: [{ ...newFilter(), column: "month", value: "1 OR 1=1" }] })
  expect(text).toContain("WHERE month = '1 OR 1=1'")
})

test("a row that is not filled in asks nothing and is said to be lacking", () => {
  const open = form({
    measures: [newMeasure("sum"), newMeasure()],
    groups: [{ ...newGroup(), column: "distance", edges: "5" }],
    filters: [{ ...newFilter(), column: "day" }],
  })
  expect(lacksOf(open, facts).map(({ text }) => text)).toEqual([
    "the column of a figure",
    "two edges or more to group by",
    "the value of a condition",
  ])
  expect(sqlOf(askedOf(open, facts), facts)).toBe("SELECT COUNT(*)\nFROM trips")
})

// as the service stores it: every default is written out
const stored: Asked = {
  where: [
    ["month", "in", [1, 2]],
    ["distance", ">=", 10],
  ],
  group_by: [{ col: "dest", keys: "private" }],
  measures: [
    { fn: "count", weight: "1" },
    { fn: "sum", col: "distance", lo: "0", hi: "5000", grid: "1", weight: "1" },
    { fn: "quantile", col: "distance", q: ["0.9"], lo: "0", hi: "50", bins: 50, weight: "1" },
  ],
}

test("a stored query comes back into the form that asks the same", () => {
  const back = formOf(stored, facts)
  expect(back).not.toBeNull()
  if (back === null) return
  expect(back.measures.map(({ fn }) => fn)).toEqual(["count", "sum", "quantile"])
  expect(sqlOf(askedOf(back, facts), facts)).toBe(sqlOf(stored, facts))
})

test("what the form has no field for stays text, and what SQL has no word for is left to JSON", () => {
  const shown: Asked = { ...stored, having: [["count", ">", "5"]], order_by: [{ by: "dest" }] }
  expect(formOf(shown, facts)).toBeNull()
  expect(sqlOf(shown, facts)).toContain("HAVING COUNT(*) > 5\nORDER BY dest")
  const either: Asked = {
    measures: [{ fn: "count" }],
    where: [["or", ["late", "=", true], ["day", "is_null"]]],
  }
  expect(formOf(either, facts)).toBeNull()
  expect(sqlOf(either, facts)).toContain("WHERE (late = TRUE OR day IS NULL)")
  for (const beyond of [
    { measures: [{ fn: "count", weight: "2" }] },
    { measures: [{ fn: "count" }], joins: [{}] },
    { measures: [{ fn: "count" }], group_by: [{ col: "month", keys: [1, 2] }] },
    { measures: [{ fn: "histogram", col: "distance", edges: ["0", "9"] }] },
  ] as Asked[])
    expect(sqlOf(beyond, facts)).toBeNull()
})
