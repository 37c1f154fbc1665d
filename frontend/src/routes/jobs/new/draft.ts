import type { Schemas } from "../../../api/client"
import { type Facts, factsOf, unitWord } from "./columns"
import { askedOf, formOf, type Lack, lacksOf, newQuery, type QueryForm } from "./query"
import { type Asked, sqlOf } from "./sql"
import { type Model, newTrain, type TrainForm, trainForm, trainLacks, trainSpec } from "./train"

export type Kind = "query" | "train"

/** All that the page holds before it is sent, as it was typed. */
export type Draft = {
  kind: Kind
  project: string
  dataset: string
  version: string
  budget: string
  blocks: string
  slot: string
  purpose: string
  /** Draw fresh noise also where an equal release would answer at no charge. */
  isFresh: boolean
  query: QueryForm
  /** What was written by hand, SQL or the typed spec; null while the form writes it. */
  text: string | null
  epsilon: string
  delta: string
  noise: string
  max_groups: string
  max_rows: string
  train: TrainForm
}
export type Change = (patch: Partial<Draft>) => void

export const newDraft = (): Draft => ({
  kind: "query",
  project: "",
  dataset: "",
  version: "",
  budget: "",
  blocks: "",
  slot: "",
  purpose: "",
  isFresh: false,
  query: newQuery(),
  text: null,
  epsilon: "",
  delta: "0",
  noise: "auto",
  max_groups: "",
  max_rows: "",
  train: newTrain(),
})

/** The text of a query: what was written by hand, else what the form writes. */
export const textOf = (draft: Draft, facts: Facts): string =>
  draft.text ?? sqlOf(askedOf(draft.query, facts), facts) ?? ""

const isTyped = (text: string) => text.trimStart().startsWith("{")

/** Blocks as `0-11, 13`; null where it does not read so. */
export function blocksOf(text: string): "all" | [number, number][] | null {
  if (text.trim() === "") return "all"
  const ranges: [number, number][] = []
  for (const part of text.split(",")) {
    const found = /^\s*(\d+)(?:\s*-\s*(\d+))?\s*$/.exec(part)
    if (found === null) return null
    ranges.push([Number(found[1]), Number(found[2] ?? found[1])])
  }
  return ranges
}

/** What a quote is asked for, and a job is sent with once it has a purpose. */
export type Request = Pick<Schemas["QuoteCreate"], "kind" | "inputs" | "reuse"> & {
  kind: Kind
  spec: Record<string, unknown>
}

/** The request of a draft, or what it still lacks. */
export function requestOf(
  draft: Draft,
  facts: Facts | undefined,
  model: Model | undefined,
): { request: Request | null; lacks: Lack[] } {
  const lacks: Lack[] = []
  if (draft.dataset === "") lacks.push({ at: "/inputs/0/dataset_id", text: "a dataset" })
  if (draft.dataset !== "" && draft.budget === "")
    lacks.push({ at: "/inputs/0/budget_id", text: "a budget" })
  const blocks = blocksOf(draft.blocks)
  if (blocks === null) lacks.push({ at: "/inputs/0/blocks", text: "blocks such as 0-11" })
  if (facts === undefined) return { request: null, lacks }
  const spec = draft.kind === "query" ? querySpec(draft, facts, lacks) : null
  if (draft.kind === "train") lacks.push(...trainLacks(draft.train, model))
  if (lacks.length > 0 || blocks === null) return { request: null, lacks }
  const made = spec ?? (model === undefined ? null : trainSpec(draft.train, model, facts))
  if (made === null) return { request: null, lacks }
  const input = {
    dataset_id: draft.dataset,
    version: Number(draft.version),
    budget_id: draft.budget,
    blocks,
    ...(draft.slot === "" ? {} : { slots: [draft.slot] }),
  }
  const reuse = draft.kind === "query" && draft.isFresh ? { reuse: false } : {}
  return { request: { kind: draft.kind, inputs: [input], spec: made, ...reuse }, lacks }
}

function querySpec(draft: Draft, facts: Facts, lacks: Lack[]): Record<string, unknown> | null {
  if (draft.text === null) lacks.push(...lacksOf(draft.query, facts))
  const text = textOf(draft, facts)
  if (text.trim() === "" && draft.text !== null) lacks.push({ at: "/spec/sql", text: "a query" })
  if (draft.epsilon.trim() === "")
    lacks.push({ at: "/spec/privacy/epsilon", text: `ε per ${unitWord(facts)}` })
  if (draft.delta.trim() === "") lacks.push({ at: "/spec/privacy/delta", text: "δ, 0 for none" })
  const asked = isTyped(text) ? typedSpec(text) : { sql: text }
  if (asked === null) lacks.push({ at: "/spec/sql", text: "JSON that can be read" })
  const whole = (shown: string) => (/^\d+$/.test(shown.trim()) ? Number(shown) : shown.trim())
  const caps = Object.fromEntries(
    (["max_groups", "max_rows"] as const)
      .filter((name) => draft[name].trim() !== "")
      .map((name) => [name, whole(draft[name])]),
  )
  const { epsilon, delta, noise } = draft
  return {
    ...asked,
    ...(Object.keys(caps).length > 0 ? { bounds: caps } : {}),
    privacy: { epsilon: epsilon.trim(), delta: delta.trim(), noise },
  }
}

function typedSpec(text: string): Record<string, unknown> | null {
  try {
    const read: unknown = JSON.parse(text)
    return { v: 1, ...(read as Record<string, unknown>) }
  } catch {
    return null
  }
}

type Job = Pick<Schemas["JobRead"], "kind" | "spec" | "inputs" | "purpose">

/** A draft that asks again what a job asked. */
export function draftOf(
  job: Job,
  dataset: Schemas["DatasetRead"],
  models: readonly Model[],
): Draft {
  const facts = factsOf(dataset)
  const input = (job.inputs[0] ?? {}) as Record<string, unknown>
  const blocks = Array.isArray(input.blocks) ? (input.blocks as [number, number][]) : []
  const slots = (input.slots ?? []) as string[]
  const draft: Draft = {
    ...newDraft(),
    dataset: dataset.id,
    version: String(dataset.version),
    budget: String(input.budget_id ?? ""),
    blocks: blocks.map(([first, last]) => `${first}-${last}`).join(", "),
    slot: slots[0] ?? "",
    purpose: job.purpose,
  }
  if (job.kind === "profile") return draft
  if (job.kind === "train") {
    const { name } = job.spec.model as { name: string }
    const model = models.find((each) => each.name === name)
    return { ...draft, kind: "train", train: trainForm(job.spec, model, facts) }
  }
  const { v: _, privacy, bounds, confidence: __, ...asked } = job.spec
  const said = (privacy ?? {}) as Record<string, string>
  const caps = (bounds ?? {}) as Record<string, number>
  const { max_groups_per_user, max_rows_per_user_group } = facts.unit
  const unless = (value: number | undefined, usual: number | undefined) =>
    value === undefined || value === (usual ?? 1) ? "" : String(value)
  const form = formOf(asked as Asked, facts)
  const sql = sqlOf(asked as Asked, facts)
  return {
    ...draft,
    query: form ?? newQuery(),
    text: form !== null ? null : (sql ?? JSON.stringify(asked, null, 2)),
    epsilon: said.epsilon ?? "",
    delta: said.delta ?? "0",
    noise: said.noise ?? "auto",
    max_groups: unless(caps.max_groups, max_groups_per_user),
    max_rows: unless(caps.max_rows, max_rows_per_user_group),
  }
}
