import { expect, test } from "vitest"
import { byUrgency, criterionStates, looks } from "./criteria"

test("only what the record shows is green", () => {
  const green = criterionStates.filter((state) => looks[state].color === "green")
  expect(green).toEqual(["satisfied"])
})

test("states differ by their marks and names, not by colour alone", () => {
  expect(new Set(criterionStates.map((state) => looks[state].mark)).size).toBe(6)
  expect(new Set(criterionStates.map((state) => looks[state].name)).size).toBe(6)
})

test("what does not hold comes first, and nothing is lost", () => {
  const findings = criterionStates.toReversed().map((state) => ({ state }))
  expect(byUrgency(findings).map((each) => each.state)).toEqual([...criterionStates])
})
