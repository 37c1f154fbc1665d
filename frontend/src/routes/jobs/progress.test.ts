import { expect, test } from "vitest"
import {
  durationText,
  type Line,
  lineText,
  type Mark,
  secondsLeft,
  sharePercent,
  spokenText,
  withLine,
  withMark,
} from "./progress"

const line = (id: number, step: number): Line => ({
  id,
  step,
  steps: 100,
  epsilon: `0.${id}1001`,
  delta: "0.000001",
})

test("a line that comes twice stands once, and in its place", () => {
  const lines = [line(3, 30), line(1, 10), line(2, 20), line(1, 10)].reduce(withLine, [])
  expect(lines.map((each) => each.id)).toEqual([1, 2, 3])
})

test("what was replayed at once says nothing of the pace", () => {
  const replayed: Mark[] = [10, 20, 30].map((step) => ({ step, at: 1000 + step }))
  expect(secondsLeft(replayed.reduce(withMark, []), 100, 1030)).toBeNull()
  const live = [...replayed, { step: 40, at: 6030 }].reduce(withMark, [])
  expect(secondsLeft(live, 100, 6030)).toBeCloseTo(30)
  expect(secondsLeft(live, 100, 16_030)).toBeCloseTo(20)
  expect(secondsLeft(live, 100, 90_000)).toBe(0)
})

test("the recent pace counts, not that of the beginning", () => {
  const slow = Array.from({ length: 4 }, (_, at) => ({ step: at, at: at * 60_000 }))
  const quick = Array.from({ length: 9 }, (_, at) => ({ step: 4 + at, at: 190_000 + at * 1000 }))
  const marks = [...slow, ...quick].reduce(withMark, [])
  expect(secondsLeft(marks, 22, 198_000)).toBeCloseTo(10)
})

test("a run that begins anew after a kill does not go backwards in time", () => {
  const marks = [
    { step: 50, at: 0 },
    { step: 40, at: 9000 },
  ].reduce(withMark, [])
  expect(marks).toEqual([{ step: 50, at: 0 }])
})

test("an epsilon so far comes with its delta and its unit, rounded against us", () => {
  expect(lineText(line(1, 10), "user")).toBe("step 10 of 100; ε 0.111, δ 1e-6 per user so far")
  expect(lineText({ ...line(1, 10), test_accuracy: 0.9171 }, "user")).toContain("accuracy 91.7%")
})

test("only each tenth is read aloud", () => {
  const lines = [line(1, 10), line(2, 14), line(3, 19)]
  expect(spokenText(lines, "user")).toBe(`10%: ${lineText(line(1, 10), "user")}`)
  expect(spokenText([...lines, line(4, 20)], "user")).toContain("20%")
  expect(spokenText([], null)).toBe("")
})

test("a share never says that all is done before it is", () => {
  expect(sharePercent({ step: 999, steps: 1000 })).toBe(99)
  expect(sharePercent({})).toBe(0)
})

test("a duration has one unit", () => {
  expect([0, 42, 300, 10_000].map(durationText)).toEqual(["1 s", "42 s", "5 min", "3 h"])
})
