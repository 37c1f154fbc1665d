import { expect, test } from "vitest"
import { progressLine, progressPart } from "./progress"

const gathering = { stage: "gathering" as const, done: 1, of: 3 }

test("how far it is, is said in entries while it gathers", () => {
  const report = { state: "running" as const, progress: gathering, failure_code: null }
  expect(progressLine(report)).toBe("gathering, 1 of 3 entries")
  expect(progressPart(report)).toBe(33)
})

test("nothing is said of a part where nothing has begun", () => {
  const queued = { stage: "queued" as const, done: 0, of: 0 }
  const report = { state: "queued" as const, progress: queued, failure_code: null }
  expect(progressLine(report)).toBe("waiting for a worker")
  expect(progressPart(report)).toBeNull()
})

test("a failure comes with its reason", () => {
  const report = { state: "failed" as const, progress: gathering, failure_code: "chain-broken" }
  expect(progressLine(report)).toBe("failed: chain-broken")
})
