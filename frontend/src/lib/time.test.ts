import { expect, test } from "vitest"
import { distance, local, utc } from "./time"

const at = "2026-03-01T23:30:00+00:00"

test("a time is read in the zone of the reader", () => {
  expect(local(at, "UTC")).toContain("1 Mar 2026")
  expect(local(at, "Asia/Tokyo")).toContain("2 Mar 2026")
})

test("the same time in UTC names its zone", () => {
  expect(utc("2026-03-01T23:30:00+02:00")).toBe("2026-03-01 21:30:00 UTC")
})

test("a distance is in the largest unit that fits", () => {
  const now = new Date(at).getTime()
  expect(distance(at, now)).toBe("just now")
  expect(distance(at, now + 3 * 60_000)).toBe("3 minutes ago")
  expect(distance(at, now - 2 * 86_400_000)).toBe("in 2 days")
})
