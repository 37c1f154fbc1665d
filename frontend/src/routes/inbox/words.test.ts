import { expect, test } from "vitest"
import { type Notice, place, sentence } from "./words"

const notice = (kind: string, facts: Record<string, unknown>): Notice => ({
  id: 1,
  at: "2026-03-01T00:00:00Z",
  kind,
  subject: "s",
  facts,
  read_by: null,
  read_at: null,
})

test("a line leads to what it tells of", () => {
  expect(place(notice("approval", { action: "raise" }))?.href).toBe("/approvals/s")
  expect(place(notice("threshold", { budget_id: "b" }))?.href).toBe("/risk?budget=b")
  expect(place(notice("audit", { budget_id: "b", job_id: "j" }))?.href).toBe("/jobs/j")
  expect(place(notice("refusals", { principal_id: "p" }))).toBeNull()
})

test("a kind that is new is still said, and no fact reads as undefined", () => {
  expect(sentence(notice("something-new", {}))).toBe("something new")
  expect(sentence(notice("threshold", { percent: "80", limit: "2" }))).toContain("80%")
  expect(sentence(notice("frozen", {}))).not.toContain("undefined")
})
