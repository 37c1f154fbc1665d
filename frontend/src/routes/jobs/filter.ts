import type { JobFilter } from "../../api/jobs"
import { kindNames, stateNames } from "./words"

/** What is chosen above the list; it stands in the address, so that a list can be handed on. */
export type Choice = Partial<Record<"state" | "kind" | "dataset" | "mine", string>>

const known = (names: [string, string][], value: string | null): string | undefined =>
  names.some(([name]) => name === value) ? (value ?? undefined) : undefined

/** What the address asks for; what the service would not know is left out. */
export function filterOf(search: URLSearchParams): JobFilter {
  return {
    state: known(stateNames, search.get("state")) as JobFilter["state"],
    kind: known(kindNames, search.get("kind")) as JobFilter["kind"],
    dataset_id: search.get("dataset") || undefined,
    mine: search.has("mine") || undefined,
  }
}

/** The address with another choice; an empty one takes it away. */
export function choicesOf(search: URLSearchParams, chosen: Choice): URLSearchParams {
  const made = new URLSearchParams(search)
  for (const [name, value] of Object.entries(chosen))
    if (value) made.set(name, value)
    else made.delete(name)
  return made
}

export const isChosen = (filter: JobFilter): boolean =>
  Object.values(filter).some((value) => value !== undefined)
