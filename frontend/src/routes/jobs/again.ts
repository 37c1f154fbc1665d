import type { Fits } from "../../api/quotes"
import { shownDelta } from "../../lib/amounts"

/** Asking once more for what a job asked, with less of it where only that fits. */

export type Spec = { [key: string]: unknown }

/** What is asked for instead; absent is as it was. */
export type Change = { epsilon?: string; steps?: number; noise_multiplier?: string }

/** The form of a new job, filled in like an earlier one. */
export function againPlace(job_id: string, change: Change = {}): string {
  const search = new URLSearchParams({ like: job_id })
  for (const [name, value] of Object.entries(change))
    if (value !== undefined) search.set(name, String(value))
  return `/jobs/new?${search}`
}

/** Which job the form is filled in like, and what of it is another; null where it begins empty. */
export function againOf(search: URLSearchParams): { like: string; change: Change } | null {
  const like = search.get("like")
  if (like === null) return null
  const change: Change = {}
  const steps = Number(search.get("steps"))
  if (Number.isInteger(steps) && steps > 0) change.steps = steps
  change.epsilon = search.get("epsilon") ?? undefined
  change.noise_multiplier = search.get("noise_multiplier") ?? undefined
  return { like, change }
}

/** A stored spec with less in it; it stays one that the service takes. */
export function changed(spec: Spec, { epsilon, steps, noise_multiplier }: Change): Spec {
  const made = { ...spec }
  if (epsilon !== undefined) made.privacy = { ...(spec.privacy as Spec), epsilon }
  if (noise_multiplier !== undefined) made.noise = { noise_multiplier }
  if (steps !== undefined) {
    made.steps = steps
    const optimizer = spec.optimizer as Spec | undefined
    const schedule = optimizer?.schedule as Spec | undefined
    // a climb to the learning rate is never longer than the run
    if (Number(schedule?.warm_up_steps) > steps)
      made.optimizer = { ...optimizer, schedule: { ...schedule, warm_up_steps: steps } }
  }
  return made
}

/** The changes by which a request would fit, each with what it would be in words. */
export function waysToFit(
  kind: string,
  fits: Fits,
  spec: Spec,
): { change: Change; words: string }[] {
  const found = []
  const { epsilon, max_units: steps, noise_multiplier_at_asked_units: noise } = fits
  if (kind === "train") {
    if (steps && steps !== spec.steps)
      found.push({ change: { steps }, words: `${steps} ${steps === 1 ? "step" : "steps"}` })
    if (noise)
      found.push({
        change: { noise_multiplier: noise },
        words: `all steps at a noise multiplier of ${noise}`,
      })
  } else if (epsilon) {
    const { delta } = spec.privacy as { delta: string }
    found.push({ change: { epsilon }, words: `a target of ε ${epsilon}, δ ${shownDelta(delta)}` })
  }
  return found
}
