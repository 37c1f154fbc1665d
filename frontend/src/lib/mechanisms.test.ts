import { expect, test } from "vitest"
import { mechanismLine } from "./mechanisms"

test("a mechanism is told with its parameters, and what it is made of behind it", () => {
  const gaussian = { type: "gaussian", noise_multiplier: "1.1" }
  expect(mechanismLine(gaussian)).toBe("gaussian, noise multiplier 1.1")
  expect(mechanismLine({ type: "poisson_sampled", rate: "0.01", of: gaussian })).toBe(
    "poisson sampled, rate 0.01, of (gaussian, noise multiplier 1.1)",
  )
  const both = { type: "composed", of: [gaussian, { type: "pure", epsilon: "0.1" }] }
  expect(mechanismLine(both)).toBe(
    "composed, of (gaussian, noise multiplier 1.1; pure, epsilon 0.1)",
  )
})
