import { expect, test } from "vitest"
import { dayAhead, endOfDay } from "./days"

test("a picked day ends with its last second where the reader is", () => {
  expect(endOfDay("2027-03-01")).toBe(new Date(2027, 2, 1, 23, 59, 59).toISOString())
})

test("what is no day gives none", () => {
  expect(endOfDay("")).toBeNull()
  expect(endOfDay("2027-13-41")).toBeNull()
  expect(endOfDay("tomorrow")).toBeNull()
})

test("a day ahead crosses months", () => {
  expect(dayAhead(3, new Date(2027, 0, 30, 12).getTime())).toBe("2027-02-02")
})
