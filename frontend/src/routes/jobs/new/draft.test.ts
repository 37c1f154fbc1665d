import { expect, test } from "vitest"
import type { Facts } from "./columns"
import { blocksOf, newDraft, requestOf } from "./draft"
import { fittingWays, likelyLimit } from "./ways"

const facts: Facts = {
  name: "trips",
  nominal: 10,
  unit: { kind: "user", column: "who", max_groups_per_user: 3 },
  columns: [{ name: "who", type: "string" }],
}
const charged = { dataset: "d", version: "2", budget: "b", epsilon: " 0.5 " }
const draft = { ...newDraft(), ...charged }

test("a query is sent as the text that is shown, with its privacy beside it", () => {
  const { request, lacks } = requestOf(
    { ...draft, max_groups: "2", slot: "nightly" },
    facts,
    undefined,
  )
  expect(lacks).toEqual([])
  expect(request).toEqual({
    kind: "query",
    inputs: [{ dataset_id: "d", version: 2, budget_id: "b", blocks: "all", slots: ["nightly"] }],
    spec: {
      sql: "SELECT COUNT(*)\nFROM trips",
      bounds: { max_groups: 2 },
      privacy: { epsilon: "0.5", delta: "0", noise: "auto" },
    },
  })
})

test("a typed spec in the place of SQL is sent as itself, and JSON that breaks off is not", () => {
  const typed = { ...draft, text: '{"measures": [{"fn": "count", "weight": "2"}]}' }
  expect(requestOf(typed, facts, undefined).request?.spec).toEqual({
    v: 1,
    measures: [{ fn: "count", weight: "2" }],
    privacy: { epsilon: "0.5", delta: "0", noise: "auto" },
  })
  const broken = requestOf({ ...typed, text: '{"measures": [' }, facts, undefined)
  expect(broken.request).toBeNull()
  expect(broken.lacks.map(({ at }) => at)).toEqual(["/spec/sql"])
})

test("an epsilon is never asked without its delta, and nothing is asked of no budget", () => {
  const at = (patch: Partial<typeof draft>) =>
    requestOf({ ...draft, ...patch }, facts, undefined).lacks.map((each) => each.at)
  expect(at({ delta: "" })).toEqual(["/spec/privacy/delta"])
  expect(at({ epsilon: "" })).toEqual(["/spec/privacy/epsilon"])
  expect(at({ budget: "" })).toEqual(["/inputs/0/budget_id"])
})

test("blocks read as ranges or not at all", () => {
  expect(blocksOf(" ")).toBe("all")
  expect(blocksOf("0-11, 13")).toEqual([
    [0, 11],
    [13, 13],
  ])
  expect(blocksOf("0..11")).toBeNull()
})

test("what fits is put into the draft that was refused, and into nothing else of it", () => {
  expect(fittingWays({ max_units: 1, epsilon: "0.25" }, draft, undefined)).toEqual([
    { label: "Take what fits: a target of ε 0.25, δ 0", patch: { epsilon: "0.25" } },
  ])
  expect(fittingWays({ max_units: 0, epsilon: null }, draft, undefined)).toEqual([])
  const run = { ...draft, kind: "train" as const }
  const ways = fittingWays({ max_units: 40, noise_multiplier_at_asked_units: "3" }, run, "1.5")
  expect(ways.map(({ patch }) => patch.train)).toMatchObject([
    { noise_by: "multiplier", multiplier: "1.5", steps: "40" },
    { noise_by: "multiplier", multiplier: "3", steps: "" },
  ])
})

test("the limit that is proposed has room for what is missing, rounded up", () => {
  const amount = (epsilon: string) => ({ epsilon, delta: "0" })
  expect(likelyLimit("1", amount("0.5"), amount("0.3"))).toBe("1.2")
  expect(likelyLimit("1", amount("0.5"), amount("0.3001"))).toBe("1.2")
  expect(likelyLimit("1", amount("0.5"), amount("0.9"))).toBe("")
  expect(likelyLimit("1", null, amount("0.9"))).toBe("")
})
