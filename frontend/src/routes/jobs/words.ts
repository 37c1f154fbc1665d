import type { Schemas } from "../../api/client"

export type Job = Schemas["JobRead"]

const states: Record<string, string> = {
  queued: "waiting",
  running: "running",
  settled: "settled",
  cancelled: "cancelled",
  failed: "failed",
}

const kinds: Record<string, string> = { query: "Query", train: "Training", profile: "Profile" }

export const stateNames = Object.entries(states)
export const kindNames = Object.entries(kinds)

export const stateName = (state: string): string => states[state] ?? state
export const kindName = (kind: string): string => kinds[kind] ?? kind

/** Whether something may still happen to it by itself. */
export const isUnderway = (job: Pick<Job, "state">): boolean =>
  job.state === "queued" || job.state === "running"

const entries: Record<string, string> = {
  reserved: "held",
  posted: "charged",
  voided: "given back",
}

/** What an entry did, as its readers say it. */
export const entryName = (kind: string): string => entries[kind] ?? kind.replaceAll("_", " ")

const scopes: Record<string, string> = {
  lifetime: "lifetime",
  allocation: "share",
  window: "window",
  period: "period of a window",
}

export const scopeName = (kind: string): string => scopes[kind] ?? kind

/** Units of the charge with their name; a training may count one look at the norms among them. */
export function unitsText(kind: string, units: number): string {
  const name = kind === "train" ? "step" : "noisy figure"
  return `${units} ${units === 1 ? name : `${name}s`}`
}

type Ended = { title: string; why: string; next: string | null }

const ends: Record<string, Ended> = {
  "failed-after-touch": {
    title: "It failed after it had begun to read rows",
    why: "Why it failed is not said: the reason could depend on a row, and would tell of it.",
    next: "An operator finds more in the worker's own log.",
  },
  "gave-up": {
    title: "No worker brought it to an end",
    why: "It was started again and again, and each time its worker was lost before a row was read.",
    next: "An operator can say whether workers live. Asking again may do.",
  },
  "scope-closed": {
    title: "A budget on its way was not open any more",
    why: "After this was admitted a budget that it is charged to was frozen or closed, or its period ended and the next one had no room.",
    next: "An officer can say when it opens.",
  },
  "not-allowed-any-more": {
    title: "The right to this budget has ended",
    why: "After this was admitted, whoever asked for it left the project, or lost the grant or the role.",
    next: "An officer can say why.",
  },
  "source-unavailable": {
    title: "The rows are not where the dataset says",
    why: "The worker looked for the file or object of this version before reading it, and it was not there.",
    next: "Whoever registered the dataset can put it right.",
  },
  "engine-refused": {
    title: "The worker could not run this",
    why: "Before a row was read the worker found that it cannot do what is asked here, or not by its own rules.",
    next: "The text of the refusal is in the worker's log.",
  },
  "engine-failed": {
    title: "The worker broke before it read a row",
    why: "It is a fault of the program or of its machine, not of what was asked.",
    next: "Asking again may do; an operator finds more in the worker's log.",
  },
}

/** Why a job ended without a result, in plain words. */
export function endOf(code: string): Ended {
  const known = ends[code]
  if (known !== undefined) return known
  return { title: "It ended without a result", why: `The service calls it ${code}.`, next: null }
}

/** What an ended job came to cost, in one sentence. */
export function spentText(job: Pick<Job, "kind" | "started_units" | "max_units">): string {
  if (job.started_units === 0) return "Nothing was started: all that was held was given back."
  const started = unitsText(job.kind, job.started_units)
  if (job.started_units === job.max_units)
    return `All of it had started and is charged: ${started}.`
  return `${started} of ${job.max_units} had started and are charged; the rest was given back.`
}

type Verdict = { name: string; color: string; about: string }

const verdicts: Record<string, Verdict> = {
  consistent: {
    name: "Consistent",
    color: "gray",
    about:
      "What the canaries gave away is possible under the claimed loss. That is a test that was passed, and no proof.",
  },
  refuted: {
    name: "Refuted",
    color: "red",
    about:
      "The canaries gave away more than the claimed loss allows. The dataset's lifetime budget is frozen until two people have looked.",
  },
  "not covered": {
    name: "Not covered",
    color: "orange",
    about: "The canaries could not test this run.",
  },
}

/** What the canaries of a run came to. */
export function verdictOf(verdict: string): Verdict {
  return verdicts[verdict] ?? { name: verdict, color: "gray", about: "" }
}

/** The datasets that a job is charged for, of those that are known. */
export const inputsOf = (
  job: Pick<Job, "inputs">,
  datasets: Schemas["DatasetRead"][],
): Schemas["DatasetRead"][] =>
  job.inputs.flatMap((input) => datasets.find((each) => each.id === input.dataset_id) ?? [])

/** The unit of privacy of what a job reads; null where it is not known. */
export function unitOf(datasets: Schemas["DatasetRead"][]): string | null {
  const kinds = new Set(
    datasets
      .map((each) => each.unit_of_privacy?.kind)
      .filter((kind): kind is string => typeof kind === "string"),
  )
  const [only] = kinds
  return kinds.size === 1 && only !== undefined ? only.replaceAll("_", " ") : null
}
