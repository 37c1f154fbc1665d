import { expect, it } from "vitest"
import type { Schemas } from "../../api/client"
import { actionsOn, changeOf } from "./changes"

const budget = (fields: object) =>
  ({
    kind: "lifetime",
    state: "open",
    plan: null,
    limit: { epsilon: "1", delta: "0" },
    ...fields,
  }) as Schemas["BudgetRead"]

it("offers a frozen budget nothing but to be thawed", () => {
  expect(actionsOn(budget({ state: "frozen" })).map(({ action }) => action)).toEqual(["thaw"])
})

it("says of what gives more, and of that alone, that a second officer has to agree", () => {
  const offered = [
    ...actionsOn(budget({ kind: "window" })),
    ...actionsOn(budget({ state: "frozen" })),
  ]
  expect(offered.filter(({ needsSecond }) => needsSecond).map(({ action }) => action)).toEqual([
    "raise",
    "thaw",
  ])
})

it("sends of a limit only what was changed", () => {
  const said = { action: "raise", epsilon: " 2", delta: "0", reason: "policy" } as const
  expect(changeOf(said, budget({}))).toEqual({
    action: "raise",
    reason: "policy",
    limit: { epsilon: "2" },
  })
  expect(changeOf({ ...said, action: "freeze" }, budget({}))).toEqual({
    action: "freeze",
    reason: "policy",
  })
})
