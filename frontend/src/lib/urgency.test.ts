import { describe, expect, it } from "vitest"
import type { Schemas } from "../api/client"
import { byUrgency, urgencyOf, usedShare } from "./urgency"

function budget(name: string, consumed: string, left: string, state = "open") {
  const amount = (epsilon: string) => ({ epsilon, delta: "0" })
  return {
    name,
    state,
    limit: amount("1"),
    consumed: amount(consumed),
    remaining: amount(left),
  } as Schemas["BudgetRead"]
}

describe("urgency", () => {
  it("puts what stands still before what is used up, and that before what soon will be", () => {
    const shown = byUrgency([
      budget("calm", "0.1", "0.9"),
      budget("nearly", "0.85", "0.15"),
      budget("closed", "1", "0", "closed"),
      budget("stopped", "0", "1", "frozen"),
      budget("busy", "0.5", "0.5"),
      budget("empty", "1", "0"),
    ])
    expect(shown.map((each) => each.name)).toEqual(["stopped", "empty", "nearly", "busy", "calm"])
  })

  it("calls a budget used up only where nothing is left", () => {
    expect(urgencyOf(budget("a", "0.999", "0.001"))).toBe("soon")
    expect(urgencyOf(budget("a", "0.5", "0"))).toBe("exhausted")
  })

  it("measures no plan by an epsilon that it does not have", () => {
    expect(usedShare({ ...budget("a", "1", "0"), consumed: null })).toBe(0)
  })

  it("leaves out the periods of a window, which shows what is left in the one in force", () => {
    const ended = { ...budget("by month, March", "1", "0"), kind: "period" }
    expect(byUrgency([ended, budget("by month", "0.1", "0.9")]).map(({ name }) => name)).toEqual([
      "by month",
    ])
  })
})
