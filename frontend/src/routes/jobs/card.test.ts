import { expect, test } from "vitest"
import { cardSections } from "./card"

test("a card is read from its use to its limits, and nothing new is left out", () => {
  const card = {
    v: 1,
    kind: "model-card",
    model: { name: "mlp", hidden: [8] },
    privacy: { parts: [{ max_units: 3 }], assumptions: ["ideal noise", "a cipher"] },
    audit: { verdict: "consistent" },
    implementation: { kernels: {} },
    limits: ["numbers are clamped"],
    intended_use: "Predicts a digit.",
    water_mark: "none",
  }
  const sections = cardSections(card)
  expect(sections.map((each) => each.title)).toEqual([
    "Intended use",
    "Model",
    "Privacy",
    "Limits",
    "Water mark",
  ])
  expect(sections[0]?.items).toEqual(["Predicts a digit."])
  expect(sections[1]?.lines).toEqual([
    { name: "name", value: "mlp" },
    { name: "hidden", value: "8" },
  ])
  expect(sections[2]?.lines[1]?.value).toBe("ideal noise; a cipher")
})
