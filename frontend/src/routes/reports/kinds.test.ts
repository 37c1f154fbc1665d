import { expect, test } from "vitest"
import { factsOf, linesAsk } from "./kinds"

const said = { lines: "", reviewer: "", day: "" }

test("a kind without facts sends none", () => {
  expect(factsOf("management_assertion", { ...said, lines: "x" })).toEqual({})
  expect(linesAsk("management_assertion")).toBeNull()
})

test("releases are read line by line, and none is an empty list", () => {
  expect(factsOf("other_releases", said)).toEqual({ releases: [] })
  const lines = "Yearbook | 2026-05-01 | private\n\nMap | 2026-06-01 | open"
  expect(factsOf("other_releases", { ...said, lines })).toEqual({
    releases: [
      { title: "Yearbook", date: "2026-05-01", is_private: true },
      { title: "Map", date: "2026-06-01", is_private: false },
    ],
  })
})

test("parties, scenarios, groups and a review have forms of their own", () => {
  const lines = "Auditor | noised"
  expect(factsOf("trust_parties", { ...said, lines })).toEqual({
    parties: [{ name: "Auditor", sees: "noised" }],
  })
  expect(factsOf("harm_scenarios", { ...said, lines: "Found out | covered" })).toEqual({
    scenarios: [{ text: "Found out", is_covered: true }],
  })
  expect(factsOf("group_effects", { ...said, lines: "women\nmen" })).toEqual({
    groups: ["women", "men"],
  })
  expect(factsOf("expert_review", { ...said, reviewer: "A", day: "2026-01-02" })).toEqual({
    reviewer: "A",
    reviewed_at: "2026-01-02",
  })
})
