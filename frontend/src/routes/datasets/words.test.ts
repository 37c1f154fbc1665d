import { expect, it } from "vitest"
import { blocksLine, unitLine, valuesLine } from "./words"

it("says of a user's unit what tells users apart and what caps are kept", () => {
  const unit = { kind: "user", column: "rider", max_groups_per_user: 3, max_rows_per_user: null }
  expect(unitLine(unit)).toBe(
    "one user, with all rows, told apart by rider; at most 3 groups a user",
  )
  expect(unitLine(null)).toBe("none: the rows are public")
})

it("says of a column what is public and no more than six values of its domain", () => {
  expect(valuesLine({ bounds: { low: "0", high: "5" }, grid: "1" })).toBe("0 to 5; in steps of 1")
  expect(valuesLine({ domain: [1, 2, 3, 4, 5, 6, 7, 8] })).toBe(
    "one of 1, 2, 3, 4, 5, 6 and 2 more",
  )
  expect(valuesLine({ name: "x" })).toBe("nothing stated")
})

it("says how units are divided", () => {
  expect(blocksLine({ kind: "none" })).toBe("none: one budget for all rows")
  expect(blocksLine({ kind: "unit_hash", count: 8 })).toBe("8 by a hash of the user")
})
