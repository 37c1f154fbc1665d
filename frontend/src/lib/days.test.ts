import { expect, test } from "vitest"
import { dayAhead, endOfDay, startOfDay } from "./days"

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

test("a day starts at midnight where the reader is, and the next one a day of dates later", () => {
  expect(startOfDay("2027-03-28")).toBe(new Date(2027, 2, 28).toISOString())
  expect(startOfDay("2027-03-28", 1)).toBe(new Date(2027, 2, 29).toISOString())
  expect(startOfDay("soon")).toBeNull()
})
