import { expect, test } from "vitest"
import type { Facts } from "./columns"
import { fieldsOf } from "./schema"
import { expectedDraw, type Model, newTrain, trainForm, trainLacks, trainSpec } from "./train"

const facts: Facts = { name: "staff", nominal: 1000, unit: { kind: "record" }, columns: [] }
const users: Facts = { ...facts, unit: { kind: "user", column: "who", max_rows_per_user: 16 } }
const mlp: Model = {
  name: "mlp",
  reads: ["features"],
  fields: fieldsOf({
    properties: { hidden: { type: "array", items: { type: "integer" } } },
    required: ["hidden"],
  }),
}
const typed = {
  ...newTrain(),
  model: "mlp",
  options: { hidden: "16, 8" },
  features: ["age", "wage"],
  label: "stays",
  rate: "0.05",
  steps: "200",
  epsilon: "2",
  delta: "1e-6",
}

test("a form asks for the spec that the service reads, decimals as texts", () => {
  expect(trainSpec(typed, mlp, facts)).toEqual({
    v: 1,
    algorithm: "dp_sgd",
    model: { name: "mlp", hidden: [16, 8] },
    features: ["age", "wage"],
    label: "stays",
    loss: "cross_entropy",
    sampling: { kind: "poisson", rate: "0.05" },
    steps: 200,
    clip: { mode: "flat", norm_l2: "1" },
    noise: { target: { epsilon: "2", delta: "1e-6", from: "empty" } },
    optimizer: { name: "sgd", learning_rate: 0.1, schedule: { name: "constant" } },
    audit: { canaries: 10000 },
    device: "cpu",
    precision: "float32",
  })
  expect(trainLacks(typed, mlp)).toEqual([])
})

test("only what was chosen is said: a multiplier, a profile, no canaries, Adam, users", () => {
  const spec = trainSpec(
    {
      ...typed,
      noise_by: "multiplier",
      multiplier: "1.5",
      clip_by: "profile",
      clip_quantile: "0.5",
      clip_epsilon: "0.1",
      canaries: "",
      optimizer: "adam",
      momentum: "0.9",
      corrects_noise: "false",
      rows_most: "4",
    },
    mlp,
    users,
  )
  expect(spec).toMatchObject({
    noise: { noise_multiplier: "1.5" },
    clip: { mode: "flat", profile: { quantile: "0.5", epsilon: "0.1" } },
    audit: null,
    user: { rows_most: 4 },
  })
  expect(spec.clip).not.toHaveProperty("norm_l2")
  expect(spec.optimizer).not.toHaveProperty("momentum")
  expect(spec.optimizer).toHaveProperty("noise_bias_correction", false)
})

test("a language model says what it reads and has no label", () => {
  const lm: Model = { name: "transformer_lm", reads: ["text", "tokens"], fields: [] }
  const spec = trainSpec({ ...typed, features: ["line"] }, lm, facts)
  expect(spec).toMatchObject({ loss: "next_token", features: ["line"] })
  expect(spec).not.toHaveProperty("label")
})

test("what a run lacks is named in the order of the form", () => {
  expect(trainLacks({ ...newTrain(), model: "mlp" }, mlp).map(({ at }) => at)).toEqual([
    "/spec/model/hidden",
    "/spec/label",
    "/spec/features",
    "/spec/sampling/rate",
    "/spec/steps",
    "/spec/noise/target/epsilon",
    "/spec/noise/target/delta",
  ])
})

test("a stored spec comes back as it was asked, what the service worked out left to it", () => {
  const stored = {
    ...trainSpec({ ...typed, noise_by: "multiplier", multiplier: "1.5" }, mlp, facts),
    model: { name: "mlp", hidden: [16, 8], classes: 2 },
    normalise_by: 50,
    physical_batch_max: 256,
    chunk_steps: 25,
    checkpoint_every_steps: 25,
    audit: { canaries: 10000, delta: "0.00001" },
  }
  const back = trainForm(stored, mlp, facts)
  expect(back).toMatchObject({ normalise_by: "", chunk_steps: "", checkpoint_every_steps: "" })
  expect(trainSpec(back, mlp, facts)).toEqual({
    ...trainSpec({ ...typed, noise_by: "multiplier", multiplier: "1.5" }, mlp, facts),
    audit: { canaries: 10000, delta: "0.00001" },
  })
  expect(trainForm({ ...stored, normalise_by: 40 }, mlp, facts).normalise_by).toBe("40")
})

test("the expected draw is worked out from public numbers alone", () => {
  expect(expectedDraw("0.05", 1000)).toBe("50")
  expect(expectedDraw("", 1000)).toBeNull()
  expect(expectedDraw("0.05", null)).toBeNull()
})
