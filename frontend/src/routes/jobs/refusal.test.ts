import { expect, test } from "vitest"
import { refusalOf } from "./refusal"

const open = { name: "for life", state: "open", fits: true, hasRoom: true }

test("a frozen budget is named before any amount", () => {
  const frozen = { ...open, name: "team", state: "frozen", fits: false, hasRoom: false }
  const { text, isOfAmount } = refusalOf([{ ...open, fits: false, hasRoom: false }, frozen])
  expect(text).toContain("team is frozen")
  expect(isOfAmount).toBe(false)
})

test("too little left is an amount, a window that has not begun is none", () => {
  expect(refusalOf([open, { ...open, fits: false, hasRoom: false }]).isOfAmount).toBe(true)
  const early = refusalOf([open, { ...open, fits: false }])
  expect(early.isOfAmount).toBe(false)
  expect(early.text).toContain("has not begun")
})

test("of a budget that may not be read nothing is said but that there is one", () => {
  expect(refusalOf([open]).text).toContain("which you may not read")
  expect(refusalOf([]).text).toContain("which you may not read")
})
