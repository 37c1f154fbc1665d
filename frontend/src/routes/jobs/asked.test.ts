import { expect, test } from "vitest"
import { privacyFacts, profileFacts, trainingFacts } from "./asked"

const training = {
  algorithm: "dp_sgd",
  model: { name: "mlp", hidden: [128], classes: 10 },
  features: ["pixels"],
  label: "digit",
  sampling: { kind: "poisson", rate: "0.05" },
  normalise_by: 64,
  steps: 400,
  chunk_steps: 10,
  clip: { mode: "flat", norm_l2: "1" },
  noise: { noise_multiplier: "1.1" },
  optimizer: {
    name: "sgd",
    learning_rate: 0.5,
    momentum: 0.9,
    schedule: { name: "cosine", warm_up_steps: 20 },
  },
  precision: "float32",
  device: "cpu",
  audit: { canaries: 10000, delta: "0.000001" },
}

const said = (facts: { name: string; value: string }[]) =>
  Object.fromEntries(facts.map((each) => [each.name, each.value]))

test("a training is told from the model to its canaries", () => {
  expect(said(trainingFacts(training))).toEqual({
    Model: "mlp (hidden: 128; classes: 10)",
    Learns: "digit from pixels",
    Steps: "400, begun in chunks of 10",
    "Each step draws": "every unit with probability 0.05",
    "Divides by": "64",
    Clips: "all layers together, to a norm of 1",
    "Noise multiplier": "1.1",
    Optimizer: "sgd at a learning rate of 0.5, momentum 0.9, cosine schedule, 20 steps of warm-up",
    "Runs on": "cpu in float32",
    Canaries: "10000, figures at δ 1e-6",
  })
})

test("a chosen norm says what choosing it costs, and an unaudited run that it is one", () => {
  const clip = { mode: "flat", profile: { quantile: "0.5", epsilon: "0.1" } }
  const facts = said(trainingFacts({ ...training, clip, audit: null }))
  expect(facts.Clips).toContain("ε 0.1 of its own, δ 0")
  expect(facts.Canaries).toContain("not audited")
})

test("a target comes with its delta and its unit, and with the caps of one unit", () => {
  const spec = {
    privacy: { epsilon: "1", delta: "1e-10", noise: "auto" },
    bounds: { max_groups: 3, max_rows: 10 },
  }
  expect(privacyFacts(spec, "user").map((each) => each.value)).toEqual([
    "ε 1, δ 1e-10 per user",
    "chosen by the service",
    "3",
    "10",
  ])
})

test("a profile says what it counts and between which bounds it looks", () => {
  const spec = {
    groupings: [{ by: [{ col: "dest" }], rows_most: 10 }, { by: [] }],
    values: [{ col: "delay", lo: "0", hi: "9", q: ["0.5", "0.9"] }],
  }
  expect(profileFacts(spec).map((each) => each.value)).toEqual([
    "by their rows and groups of dest",
    "by their rows",
    "0.5, 0.9 within 0 and 9",
  ])
})
