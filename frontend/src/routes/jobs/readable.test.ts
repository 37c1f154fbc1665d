import { expect, test } from "vitest"
import { keysTexts, type Query, queryText } from "./readable"

const names = { dataset: "flights", unit: "tailnum", numbers: new Set(["delay"]) }
const plain: Query = { where: [], group_by: [], measures: [{ fn: "count" }] }

test("a plain count is one line for each clause", () => {
  expect(queryText(plain, names)).toBe("SELECT COUNT(*)\nFROM flights")
})

test("every clause of a query is there, with the bounds that were charged", () => {
  const query: Query = {
    where: [
      ["delay", ">", "1.5"],
      ["or", ["dest", "in", ["O'Hare", "ATL"]], ["not", ["dest", "is_null"]]],
      ["month", "between", [1, 3]],
    ],
    group_by: [
      { col: "dest", keys: "private" },
      { bin: "distance", edges: ["0", "500"] },
    ],
    measures: [
      { fn: "count_distinct" },
      { fn: "mean", col: "delay", lo: "-60", hi: "600", grid: "1" },
      { fn: "quantile", col: "delay", lo: "-60", hi: "600", q: ["0.5", "0.9"], bins: 256 },
    ],
    having: [["mean(delay)", ">=", "10"]],
    order_by: [
      { by: "quantile(delay, 0.9)", desc: true },
      { by: "distance", desc: false },
    ],
    limit: 5,
  }
  expect(queryText(query, names)).toBe(
    [
      "SELECT dest,",
      "       BIN(distance, 0, 500),",
      "       COUNT(DISTINCT tailnum),",
      "       AVG(CLAMP(delay, -60, 600, 1)),",
      "       QUANTILE(CLAMP(delay, -60, 600), 0.5),",
      "       QUANTILE(CLAMP(delay, -60, 600), 0.9)",
      "FROM flights",
      "WHERE delay > 1.5",
      "  AND (dest IN ('O''Hare', 'ATL') OR NOT (dest IS NULL))",
      "  AND month BETWEEN 1 AND 3",
      "GROUP BY dest, BIN(distance, 0, 500)",
      "HAVING AVG(CLAMP(delay, -60, 600, 1)) >= 10",
      "ORDER BY QUANTILE(CLAMP(delay, -60, 600), 0.9) DESC, BIN(distance, 0, 500)",
      "LIMIT 5",
    ].join("\n"),
  )
})

test("a column called like a word of the language is a column", () => {
  expect(queryText({ ...plain, where: [["and", "=", "x"]] }, names)).toContain("WHERE and = 'x'")
})

test("a dataset's name is quoted where it is no plain name", () => {
  expect(queryText(plain, { ...names, dataset: 'a "b"' })).toContain('FROM "a ""b"""')
})

test("bins, best keys and joins read as they were asked", () => {
  const query: Query = {
    ...plain,
    measures: [
      { fn: "histogram", col: "delay", lo: "0", hi: "10", bins: 5 },
      { fn: "top_k", col: "dest", k: 3 },
    ],
    joins: [{ dataset_id: "x", as: "planes", on: ["tailnum", "id"] }],
  }
  const text = queryText(query, names)
  expect(text).toContain("HISTOGRAM(CLAMP(delay, 0, 10), 5)")
  expect(text).toContain("TOP_K(dest, 3)")
  expect(text).toContain("JOIN planes ON tailnum = planes.id")
})

test("which groups can be seen is said, also of many", () => {
  const keys = Array.from({ length: 25 }, (_, at) => at)
  expect(keysTexts({ ...plain, group_by: [{ col: "day", keys }] })[0]).toContain("19 and 5 more")
  expect(keysTexts({ ...plain, group_by: [{ col: "dest", keys: "private" }] })[0]).toContain(
    "noisy",
  )
  expect(keysTexts(plain)).toEqual([])
})
