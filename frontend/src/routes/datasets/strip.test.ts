import { expect, it } from "vitest"
import type { Schemas } from "../../api/client"
import { blocksIn, firstDayOf, heatOf, numbersOf } from "./strip"

const run = (first: number, last: number, epsilon: string) =>
  ({ first, last, closed: true, consumed: { epsilon, delta: "0" } }) as Schemas["BlockRun"]

it("shades a block by the share of its limit that is used", () => {
  const heats = ["0", "0.25", "0.26", "0.75", "0.99", "1", "2"].map((used) =>
    heatOf(run(0, 0, used), "1"),
  )
  expect(heats).toEqual(["none", "a quarter", "half", "three quarters", "more", "all", "all"])
})

it("counts and names the blocks of a run", () => {
  expect([blocksIn(run(2, 4, "0")), numbersOf(run(2, 4, "0")), numbersOf(run(7, 7, "0"))]).toEqual([
    3,
    "2 to 4",
    "7",
  ])
})

it("says the first day of a period, and of no block that is none", () => {
  const monthly = { kind: "time", period: "month", first_day: "2026-11-15" }
  expect(firstDayOf(monthly, 2)).toBe("2027-01-15")
  expect(firstDayOf({ ...monthly, period: "week" }, 1)).toBe("2026-11-22")
  expect(firstDayOf({ ...monthly, first_day: "2026-10-31" }, 1)).toBeNull()
  expect(firstDayOf({ kind: "unit_hash" }, 1)).toBeNull()
})
