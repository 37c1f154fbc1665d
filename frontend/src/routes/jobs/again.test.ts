import { expect, test } from "vitest"
import { againOf, againPlace, changed, waysToFit } from "./again"

test("the way to the form and back keeps what is asked", () => {
  const change = { epsilon: "0.25", steps: 412, noise_multiplier: "1.73" }
  const place = againPlace("job", change)
  expect(againOf(new URL(place, "http://house").searchParams)).toEqual({ like: "job", change })
})

test("a form that is like no job begins empty, and no nonsense is taken for steps", () => {
  expect(againOf(new URLSearchParams("steps=3"))).toBeNull()
  expect(againOf(new URLSearchParams("like=job&steps=-3"))).toEqual({ like: "job", change: {} })
})

test("only what does not fit is changed", () => {
  const query = { where: [], privacy: { epsilon: "1", delta: "1e-6", noise: "auto" } }
  expect(changed(query, { epsilon: "0.5" })).toEqual({
    where: [],
    privacy: { epsilon: "0.5", delta: "1e-6", noise: "auto" },
  })
  const training = { steps: 100, noise: { noise_multiplier: "1" }, optimizer: { name: "sgd" } }
  expect(changed(training, { noise_multiplier: "2" })).toEqual({
    ...training,
    noise: { noise_multiplier: "2" },
  })
  expect(training.noise.noise_multiplier).toBe("1")
})

test("a shorter run climbs to its learning rate within its steps", () => {
  const optimizer = { name: "sgd", schedule: { name: "cosine", warm_up_steps: 50 } }
  expect(changed({ steps: 100, optimizer }, { steps: 20 })).toEqual({
    steps: 20,
    optimizer: { name: "sgd", schedule: { name: "cosine", warm_up_steps: 20 } },
  })
})

test("a training fits by steps or by noise, a query by its target, nothing by nothing", () => {
  const both = { max_units: 412, noise_multiplier_at_asked_units: "1.73" }
  expect(waysToFit("train", both, {}).map((way) => way.change)).toEqual([
    { steps: 412 },
    { noise_multiplier: "1.73" },
  ])
  expect(
    waysToFit("query", { max_units: 0, epsilon: "0.3" }, { privacy: { delta: "0.000001" } }),
  ).toEqual([{ change: { epsilon: "0.3" }, words: "a target of ε 0.3, δ 1e-6" }])
  expect(waysToFit("train", { max_units: 0, noise_multiplier_at_asked_units: null }, {})).toEqual(
    [],
  )
})
