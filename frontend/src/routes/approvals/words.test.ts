import { expect, test } from "vitest"
import type { Approval } from "../../api/decisions"
import { changeRows, whyNot } from "./words"

const approval = { state: "pending", requested_by: "asker" } as Approval
const officer = { id: "officer", roles: ["compliance_officer"] }

test("a raise shows each part of the limit, old beside new, also what stays", () => {
  const limits = { from: { delta: "1e-6", epsilon: "1" }, to: { delta: "1e-6", epsilon: "2" } }
  expect(changeRows({ action: "raise", budget_id: "b", budget_version: 2, ...limits })).toEqual([
    { field: "limit ε", from: "1", to: "2" },
    { field: "limit δ", from: "1e-6", to: "1e-6" },
  ])
})

test("a thaw shows the state, old beside new", () => {
  expect(changeRows({ action: "thaw", from: "frozen", to: "open" })).toEqual([
    { field: "state", from: "frozen", to: "open" },
  ])
})

test("nothing of a nested change is left out", () => {
  const change = {
    action: "open",
    name: "for life",
    policy: { limit: { epsilon: "1", delta: "0" }, accountant: "pure/1" },
    milestones: ["0.5", "0.8"],
    window: null,
    new_people: true,
  }
  expect(changeRows(change).map((row) => [row.field, row.to])).toEqual([
    ["name", "for life"],
    ["policy · limit · ε", "1"],
    ["policy · limit · δ", "0"],
    ["policy · accountant", "pure/1"],
    ["milestones", "0.5, 0.8"],
    ["new people", "yes"],
  ])
})

test("who asked cannot decide, and is told why before any other reason", () => {
  expect(whyNot(approval, { ...officer, id: "asker" }, true)).toContain("yourself")
  expect(whyNot(approval, { id: "reader", roles: ["auditor"] }, false)).toContain("officer")
  expect(whyNot(approval, officer, true)).toContain("rejected")
  expect(whyNot(approval, officer, false)).toBeNull()
  expect(whyNot({ ...approval, state: "used" }, { ...officer, id: "asker" }, false)).toBeNull()
})
