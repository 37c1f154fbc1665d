import { expect, test } from "vitest"
import {
  binsOf,
  type Cell,
  drawn,
  extent,
  pointsOf,
  type Table,
  valueText,
  widthText,
} from "./result"

const cell = (value: Cell["value"], more: Partial<Cell> = {}): Cell => ({
  measure: "m",
  value,
  half_width_95: "1.50001",
  mechanism: "discrete_laplace",
  ...more,
})

const table: Table = {
  columns: [
    { name: "dest", kind: "key", type: "string" },
    { name: "month", kind: "key", type: "int64" },
    { name: "count", kind: "measure", type: "number" },
    { name: "histogram(delay)", kind: "measure", type: "numbers" },
    { name: "top_k(origin)", kind: "measure", type: "keys" },
  ],
  rows: [
    {
      keys: { dest: "ATL", month: 1 },
      cells: [cell(-3), cell([1, -2], { edges: ["0", "1.5", "3"] }), cell(["JFK", "EWR"])],
    },
    { keys: { dest: null, month: 2 }, cells: [cell(3511.123456), cell([0, 0]), cell([])] },
  ],
  notes: [],
}

test("a width is rounded up, and one of ranks says that it is one", () => {
  expect(widthText(cell(1))).toBe("± 1.501")
  expect(widthText(cell(1, { half_width_95: null, rank_half_width_95: "40" }))).toBe(
    "± 40 rows in rank",
  )
  expect(widthText(cell(1, { half_width_95: null }))).toBe("not known")
})

test("values have no more figures than mean something", () => {
  expect(valueText(cell(3511.123456789))).toBe("3,511.123")
  expect(valueText(cell(["JFK", "EWR"]))).toBe("JFK, EWR")
  expect(valueText(cell([1, 2], { edges: ["0", "1", "2"] }))).toContain("2 bins")
})

test("numbers and bins are drawn, best keys are not", () => {
  expect(drawn(table).map((each) => each.name)).toEqual(["count", "histogram(delay)"])
})

test("a single figure is no chart, its bins are", () => {
  const one = { ...table, rows: table.rows.slice(0, 1) }
  expect(drawn(one).map((each) => each.name)).toEqual(["histogram(delay)"])
  expect(drawn({ ...table, rows: [] })).toEqual([])
})

test("points carry their interval, and groups without a key have a name", () => {
  expect(pointsOf(table, 0)).toEqual([
    { label: "ATL, 1", value: -3, halfWidth: 1.50001 },
    { label: "(no value), 2", value: 3511.123456, halfWidth: 1.50001 },
  ])
  const first = table.rows[0]
  expect(first && binsOf(first, 1).map((each) => each.label)).toEqual(["[0, 1.5)", "[1.5, 3)"])
})

test("what is drawn has room for every whisker and for zero", () => {
  expect(extent([{ label: "", value: 5, halfWidth: 1 }])).toEqual([0, 6])
  expect(extent([{ label: "", value: -5, halfWidth: 1 }])).toEqual([-6, 0])
})
