import { expect, test } from "vitest"
import { factsLine } from "./facts"

test("facts are one line of words, whatever they hold", () => {
  expect(factsLine({})).toBe("")
  expect(factsLine({ key_id: "ab", roles: ["a", "b"], before: null })).toBe(
    "key id: ab; roles: a, b; before: none",
  )
  expect(factsLine({ limit: { epsilon: "1", delta: "0" } })).toBe("limit: epsilon: 1; delta: 0")
})
