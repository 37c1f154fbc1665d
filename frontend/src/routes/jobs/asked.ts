import { shownDelta } from "../../lib/amounts"
import { factsLine } from "../../lib/facts"
import type { Spec } from "./again"

/** A line of what was asked, and what it says. */
export type Fact = { name: string; value: string }

type Words = { [key: string]: string }

const of = (value: unknown): Spec => (typeof value === "object" && value ? (value as Spec) : {})

/** The privacy that a query or a profile aims at: what is charged is what its noise costs. */
export function privacyFacts(spec: Spec, unit: string | null): Fact[] {
  const { epsilon, delta, noise } = of(spec.privacy)
  // a record is one row, so its caps say nothing
  const bounds = unit === "record" ? {} : of(spec.bounds)
  const per = unit ?? "unit"
  const facts = [
    {
      name: "Target",
      value: `ε ${epsilon}, δ ${shownDelta(String(delta))} per ${per}`,
    },
    { name: "Noise", value: noise === "auto" ? "chosen by the service" : plain(noise) },
  ]
  if (bounds.max_groups !== undefined)
    facts.push({ name: `Groups of one ${per}, at most`, value: String(bounds.max_groups) })
  if (bounds.max_rows !== undefined)
    facts.push({ name: `Rows of one ${per} in a group, at most`, value: String(bounds.max_rows) })
  return facts
}

const clipModes: Words = {
  flat: "all layers together",
  per_layer: "layer by layer",
  stream: "layer by layer, with little memory",
}

/** A training spec in the order in which people ask about it. */
export function trainingFacts(spec: Spec): Fact[] {
  const { name, ...options } = of(spec.model)
  const features = (spec.features as string[] | undefined) ?? []
  const shown = features.slice(0, featuresShown).join(", ")
  const more = features.length > featuresShown ? ` and ${features.length - featuresShown} more` : ""
  const learnt = spec.label === undefined ? "what comes next" : String(spec.label)
  const facts = [
    { name: "Model", value: withFacts(String(name), options) },
    { name: "Learns", value: `${learnt} from ${shown}${more}` },
    { name: "Steps", value: `${spec.steps}, begun in chunks of ${spec.chunk_steps}` },
    { name: "Each step draws", value: `every unit with probability ${of(spec.sampling).rate}` },
    { name: "Divides by", value: String(spec.normalise_by) },
    { name: "Clips", value: clipText(of(spec.clip)) },
    { name: "Noise multiplier", value: noiseText(of(spec.noise)) },
    { name: "Optimizer", value: optimizerText(of(spec.optimizer)) },
    { name: "Runs on", value: `${spec.device} in ${spec.precision}` },
    { name: "Canaries", value: auditText(spec.audit) },
  ]
  if (spec.algorithm === "dp_zo")
    facts.splice(1, 0, { name: "Algorithm", value: "without gradients (dp_zo)" })
  if (spec.user !== undefined) facts.push({ name: "Users", value: factsLine(of(spec.user)) })
  return facts
}

/** What a profile counts, a line for each. */
export function profileFacts(spec: Spec): Fact[] {
  const groupings = (spec.groupings as Spec[] | undefined) ?? []
  const values = (spec.values as Spec[] | undefined) ?? []
  return [
    ...groupings.map((each) => ({ name: "Counts units", value: groupingText(each) })),
    ...values.map((each) => ({
      name: `Quantiles of ${each.col}`,
      value: `${(each.q as string[]).join(", ")} within ${each.lo} and ${each.hi}`,
    })),
  ]
}

export function groupingText(grouping: Spec): string {
  const by = (grouping.by as Spec[]).map((each) => String(each.col ?? each.bin))
  return by.length === 0 ? "by their rows" : `by their rows and groups of ${by.join(", ")}`
}

const featuresShown = 20
const plain = (word: unknown): string => String(word).replaceAll("_", " ")

const withFacts = (name: string, facts: Spec): string =>
  Object.keys(facts).length === 0 ? name : `${name} (${factsLine(facts)})`

function clipText({ mode, norm_l2, profile, adaptive }: Spec): string {
  const how = clipModes[String(mode)] ?? plain(mode)
  if (profile !== undefined) {
    const { quantile, epsilon } = of(profile)
    return `${how}, to a norm that one charged look chooses near the quantile ${quantile} (ε ${epsilon} of its own, δ 0 per unit)`
  }
  if (adaptive !== undefined)
    return `${how}, to a norm that follows the quantile ${of(adaptive).quantile}, first ${norm_l2}`
  return `${how}, to a norm of ${norm_l2}`
}

function noiseText({ noise_multiplier, target }: Spec): string {
  if (noise_multiplier !== undefined) return String(noise_multiplier)
  const { epsilon, delta } = of(target)
  return `the least for ε ${epsilon}, δ ${shownDelta(String(delta))} per unit`
}

function optimizerText({ name, learning_rate, momentum, schedule }: Spec): string {
  const { name: shape, warm_up_steps: climb } = of(schedule)
  const parts = [`${name} at a learning rate of ${learning_rate}`]
  if (momentum) parts.push(`momentum ${momentum}`)
  if (shape !== undefined && shape !== "constant") parts.push(`${shape} schedule`)
  if (climb) parts.push(`${climb} steps of warm-up`)
  return parts.join(", ")
}

function auditText(audit: unknown): string {
  if (audit === null || audit === undefined) return "none: the run is not audited"
  const { canaries, delta } = of(audit)
  return `${canaries}, figures at δ ${shownDelta(String(delta))}`
}
