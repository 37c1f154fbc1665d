import { expect, test } from "vitest"
import { guesses, guessText, points } from "./figures"

test("a hundred guesses are always a hundred, and risk is rounded up", () => {
  for (const best of ["50", "50.3", "55.1", "99.5", "nearly always"]) {
    const { blind, more, wrong } = guesses(best)
    expect(blind + more + wrong).toBe(100)
  }
  expect(guesses("50.3")).toEqual({ blind: 50, more: 1, wrong: 49 })
  expect(guesses("nearly always")).toEqual({ blind: 50, more: 50, wrong: 0 })
})

test("a figure near all is said in words", () => {
  expect(guessText("nearly always")).toBe("nearly always")
  expect(guessText("62.3")).toBe("at most 62.3 times in 100")
})

test("the curve is the service's own corners beside blind guessing", () => {
  expect(points([{ false_alarm_percent: "25", caught_percent: "75" }])).toEqual([
    { falseAlarms: 25, caught: 75, blind: 25 },
  ])
})
