import { expect, it } from "vitest"
import type { Schemas } from "../../api/client"
import { burnDown, leftIfHeld, linesOf } from "./burnDown"

const day = (number: number) => `2026-03-0${number}T12:00:00+00:00`
const timeline = {
  points: [
    { at: day(1), consumed: "0.1" },
    { at: day(3), consumed: "0.4" },
  ],
  with_reservations: "0.5",
  limit: { epsilon: "1", delta: "0" },
  marks: [{ seq: 4, kind: "raised", at: day(2) }],
  forecast: { exhausted_at: null, basis: "" },
} as Schemas["TimelineRead"]

it("begins at the whole limit and ends now, with what is left after each day", () => {
  const now = Date.parse(day(4))
  expect(burnDown(timeline, now).map(({ left }) => left)).toEqual([1, 0.9, 0.6, 0.6])
  expect(burnDown(timeline, now).at(-1)?.at).toBe(now)
  expect(burnDown({ ...timeline, points: [] }, now)).toEqual([])
})

it("says what holding takes away, and nothing where nothing is held", () => {
  expect(leftIfHeld(timeline)).toBe(0.5)
  expect(leftIfHeld({ ...timeline, with_reservations: "0.4" })).toBeNull()
  expect(leftIfHeld({ ...timeline, with_reservations: null })).toBeNull()
})

it("says in the table what the chart draws, in the order of time", () => {
  expect(linesOf(timeline).map((line) => line.what)).toEqual(["consumed", "mark", "consumed"])
})
