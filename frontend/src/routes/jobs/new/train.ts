import type { Facts } from "./columns"
import type { Lack } from "./query"
import { asNumber, type Field, optionsOf, type Values, valuesOf } from "./schema"

/** What the form of a training run holds: every field as it was typed. */
export type TrainForm = {
  model: string
  options: Values
  features: string[]
  label: string
  algorithm: string
  rate: string
  steps: string
  clip_mode: string
  clip_by: "norm" | "profile" | "adaptive"
  norm_l2: string
  clip_quantile: string
  clip_epsilon: string
  clip_learning_rate: string
  clip_count_noise: string
  clip_low: string
  clip_high: string
  noise_by: "target" | "multiplier"
  multiplier: string
  epsilon: string
  delta: string
  from: string
  optimizer: string
  learning_rate: string
  momentum: string
  corrects_noise: string
  schedule: string
  warm_up_steps: string
  canaries: string
  canary_delta: string
  rows_most: string
  each_step: string
  evaluation: string
  every_steps: string
  device: string
  precision: string
  normalise_by: string
  physical_batch_max: string
  chunk_steps: string
  checkpoint_every_steps: string
  difference_step: string
}

export const newTrain = (): TrainForm => ({
  model: "",
  options: {},
  features: [],
  label: "",
  algorithm: "dp_sgd",
  rate: "",
  steps: "",
  clip_mode: "flat",
  clip_by: "norm",
  norm_l2: "1",
  clip_quantile: "",
  clip_epsilon: "",
  clip_learning_rate: "",
  clip_count_noise: "",
  clip_low: "",
  clip_high: "",
  noise_by: "target",
  multiplier: "",
  epsilon: "",
  delta: "",
  from: "empty",
  optimizer: "sgd",
  learning_rate: "0.1",
  momentum: "",
  corrects_noise: "",
  schedule: "constant",
  warm_up_steps: "",
  canaries: "10000",
  canary_delta: "",
  rows_most: "",
  each_step: "",
  evaluation: "",
  every_steps: "",
  device: "cpu",
  precision: "float32",
  normalise_by: "",
  physical_batch_max: "",
  chunk_steps: "",
  checkpoint_every_steps: "",
  difference_step: "",
})

/** What a registered model tells of itself, and its fields. */
export type Model = { name: string; reads: string[]; fields: Field[] }

export const readsFeatures = (model: Model) => model.reads.includes("features")

export function trainLacks(form: TrainForm, model: Model | undefined): Lack[] {
  const found: Lack[] = []
  const need = (at: string, value: string, text: string) => {
    if (value.trim() === "") found.push({ at, text })
  }
  need("/spec/model/name", model?.name ?? "", "a model")
  if (model !== undefined) {
    for (const { path, label, isRequired, usual } of model.fields)
      if (isRequired) need(`/spec/model/${path}`, form.options[path] ?? usual, label.toLowerCase())
    if (readsFeatures(model)) need("/spec/label", form.label, "a label")
    if (form.features.length === 0)
      found.push({ at: "/spec/features", text: "what it learns from" })
  }
  need("/spec/sampling/rate", form.rate, "the sampling rate")
  need("/spec/steps", form.steps, "how many steps")
  if (form.clip_by !== "profile") need("/spec/clip/norm_l2", form.norm_l2, "the clipping norm")
  if (form.noise_by === "multiplier")
    need("/spec/noise/noise_multiplier", form.multiplier, "the noise multiplier")
  else {
    need("/spec/noise/target/epsilon", form.epsilon, "the target ε")
    need("/spec/noise/target/delta", form.delta, "the δ of the target")
  }
  need("/spec/optimizer/learning_rate", form.learning_rate, "the learning rate")
  return found
}

type Document = Record<string, unknown>

const given = (fields: Document): Document =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""))

/** The spec that the form asks for; what was left empty is left to the service. */
export function trainSpec(form: TrainForm, model: Model, facts: Facts): Document {
  const isAdam = form.optimizer === "adam"
  return {
    v: 1,
    algorithm: form.algorithm,
    model: { name: model.name, ...optionsOf(model.fields, form.options) },
    features: form.features,
    ...(readsFeatures(model)
      ? { label: form.label, loss: "cross_entropy" }
      : { loss: "next_token" }),
    sampling: { kind: "poisson", rate: form.rate.trim() },
    steps: asNumber(form.steps),
    clip: clipOf(form),
    noise: noiseOf(form),
    optimizer: given({
      name: form.optimizer,
      learning_rate: asNumber(form.learning_rate),
      momentum: isAdam ? "" : asNumber(form.momentum),
      noise_bias_correction:
        isAdam && form.corrects_noise !== "" ? form.corrects_noise === "true" : "",
      schedule: given({ name: form.schedule, warm_up_steps: asNumber(form.warm_up_steps) }),
    }),
    audit:
      form.canaries.trim() === ""
        ? null
        : given({ canaries: asNumber(form.canaries), delta: form.canary_delta.trim() }),
    device: form.device,
    precision: form.precision,
    ...given({
      normalise_by: asNumber(form.normalise_by),
      physical_batch_max: asNumber(form.physical_batch_max),
      chunk_steps: asNumber(form.chunk_steps),
      checkpoint_every_steps: asNumber(form.checkpoint_every_steps),
      difference_step: form.algorithm === "dp_zo" ? asNumber(form.difference_step) : "",
    }),
    ...(facts.unit.kind === "record"
      ? {}
      : { user: given({ rows_most: asNumber(form.rows_most), each_step: form.each_step }) }),
    ...(form.evaluation === ""
      ? {}
      : {
          evaluation: given({
            dataset_id: form.evaluation,
            every_steps: asNumber(form.every_steps),
          }),
        }),
  }
}

function clipOf(form: TrainForm): Document {
  const quantile = form.clip_quantile.trim()
  if (form.clip_by === "profile")
    return { mode: form.clip_mode, profile: { quantile, epsilon: form.clip_epsilon.trim() } }
  const fixed = { mode: form.clip_mode, norm_l2: form.norm_l2.trim() }
  if (form.clip_by === "norm") return fixed
  const adaptive = given({
    quantile,
    learning_rate: asNumber(form.clip_learning_rate),
    count_noise: form.clip_count_noise.trim(),
    low: form.clip_low.trim(),
    high: form.clip_high.trim(),
  })
  return { ...fixed, adaptive }
}

function noiseOf(form: TrainForm): Document {
  if (form.noise_by === "multiplier") return { noise_multiplier: form.multiplier.trim() }
  const { epsilon, delta, from } = form
  return { target: { epsilon: epsilon.trim(), delta: delta.trim(), from } }
}

/** How many units one step draws in expectation, by public numbers. */
export function expectedDraw(rate: string, nominal: number | null): string | null {
  const drawn = Number(rate) * (nominal ?? Number.NaN)
  return rate.trim() !== "" && Number.isFinite(drawn) ? String(Math.round(drawn * 10) / 10) : null
}

const usualChunk = 25
const usualBatch = 256
const usualDifference = 0.001
const onlyAtEnd = 1_000_000

/** The form that asks for a stored spec; defaults that the service works out are left to it. */
export function trainForm(spec: Document, model: Model | undefined, facts: Facts): TrainForm {
  const part = (of: Document, name: string) => (of[name] ?? {}) as Document
  const text = (value: unknown) => (value === undefined || value === null ? "" : String(value))
  const [clip, noise, optimizer] = [
    part(spec, "clip"),
    part(spec, "noise"),
    part(spec, "optimizer"),
  ]
  const [profile, adaptive, target] = [
    part(clip, "profile"),
    part(clip, "adaptive"),
    part(noise, "target"),
  ]
  const [user, audit, evaluation] = [
    part(spec, "user"),
    part(spec, "audit"),
    part(spec, "evaluation"),
  ]
  const schedule = part(optimizer, "schedule")
  const named = part(spec, "model")
  const options = valuesOf(model?.fields ?? [], named)
  const rate = text(part(spec, "sampling").rate)
  const steps = Number(spec.steps)
  const chunk = Number(spec.chunk_steps ?? usualChunk)
  const isUsual = (name: string, usual: number) =>
    Math.abs(Number(spec[name]) - usual) <= 1e-9 * Math.abs(usual)
  const unless = (name: string, usual: number) => (isUsual(name, usual) ? "" : text(spec[name]))
  return {
    ...newTrain(),
    model: text(named.name),
    options,
    features: (spec.features as string[] | undefined) ?? [],
    label: text(spec.label),
    algorithm: text(spec.algorithm),
    rate,
    steps: text(spec.steps),
    clip_mode: text(clip.mode),
    clip_by: "profile" in clip ? "profile" : "adaptive" in clip ? "adaptive" : "norm",
    norm_l2: text(clip.norm_l2),
    clip_quantile: text(profile.quantile ?? adaptive.quantile),
    clip_epsilon: text(profile.epsilon),
    clip_learning_rate: text(adaptive.learning_rate),
    clip_count_noise: text(adaptive.count_noise),
    clip_low: text(adaptive.low),
    clip_high: text(adaptive.high),
    noise_by: "noise_multiplier" in noise ? "multiplier" : "target",
    multiplier: text(noise.noise_multiplier),
    epsilon: text(target.epsilon),
    delta: text(target.delta),
    from: text(target.from) || "empty",
    optimizer: text(optimizer.name),
    learning_rate: text(optimizer.learning_rate),
    momentum: text(optimizer.momentum || ""),
    corrects_noise: text(optimizer.noise_bias_correction),
    schedule: text(schedule.name) || "constant",
    warm_up_steps: text(schedule.warm_up_steps || ""),
    canaries: text(audit.canaries),
    canary_delta: text(audit.delta),
    rows_most: text(user.rows_most),
    each_step: text(user.each_step),
    evaluation: text(evaluation.dataset_id),
    every_steps: evaluation.every_steps === onlyAtEnd ? "" : text(evaluation.every_steps),
    device: text(spec.device) || "cpu",
    precision: text(spec.precision) || "float32",
    normalise_by: unless("normalise_by", Number(rate) * (facts.nominal ?? 0)),
    physical_batch_max: unless("physical_batch_max", usualBatch),
    chunk_steps: unless("chunk_steps", usualChunk),
    checkpoint_every_steps: unless(
      "checkpoint_every_steps",
      Math.min(Math.ceil(steps / (10 * chunk)), 10) * chunk,
    ),
    difference_step: unless("difference_step", usualDifference),
  }
}
