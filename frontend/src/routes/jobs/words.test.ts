import { expect, test } from "vitest"
import { endOf, spentText, unitOf, unitsText, verdictOf } from "./words"

const job = { kind: "train", started_units: 0, max_units: 40 }

test("what was not started is free, and what was started is charged", () => {
  expect(spentText(job)).toContain("given back")
  expect(spentText(job)).not.toContain("charged")
  expect(spentText({ ...job, started_units: 10 })).toBe(
    "10 steps of 40 had started and are charged; the rest was given back.",
  )
  expect(spentText({ ...job, started_units: 40 })).toBe(
    "All of it had started and is charged: 40 steps.",
  )
})

test("a failure after a touch says that its reason is kept back, and no other one does", () => {
  expect(endOf("failed-after-touch").why).toContain("could depend on a row")
  for (const code of ["gave-up", "scope-closed", "engine-failed", "source-unavailable"])
    expect(endOf(code).why).not.toContain("could depend")
})

test("an unknown code is named and nothing is made up", () => {
  expect(endOf("new-code")).toEqual({
    title: "It ended without a result",
    why: "The service calls it new-code.",
    next: null,
  })
})

test("one unit is one", () => {
  expect(unitsText("train", 1)).toBe("1 step")
  expect(unitsText("query", 3)).toBe("3 noisy figures")
})

test("a passed audit is no green light, a refuted one is red", () => {
  expect(verdictOf("consistent").color).not.toBe("green")
  expect(verdictOf("consistent").about).toContain("no proof")
  expect(verdictOf("refuted").color).toBe("red")
})

test("a unit is said where all inputs have the same", () => {
  const of = (kind: string | null) =>
    ({ unit_of_privacy: kind === null ? null : { kind } }) as never
  expect(unitOf([of("user_period"), of(null)])).toBe("user period")
  expect(unitOf([of("user"), of("record")])).toBeNull()
  expect(unitOf([])).toBeNull()
})
