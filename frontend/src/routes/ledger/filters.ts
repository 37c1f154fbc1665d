/** What of a chain is looked at: it stands in the address, so that it can be handed on. */

import type { EntryQuery } from "../../api/ledger"
import { startOfDay } from "../../lib/days"

export const kinds: NonNullable<EntryQuery["kind"]>[] = [
  "opened",
  "reserved",
  "posted",
  "voided",
  "opening",
  "refreshed",
  "raised",
  "lowered",
  "frozen",
  "thawed",
  "closed",
  "transferred",
  "rate_limited",
  "published",
  "purged",
]

/** What an entry of a kind says. */
export const kindWords: Record<string, string> = {
  opened: "The budget was opened.",
  reserved: "Room is held for work: the most that it may cost.",
  posted: "Work has ended and is charged for what was started.",
  voided: "Work has ended before it began; what was held for it is free again.",
  opening: "Spend from before the service, put on record.",
  refreshed: "A new period of a window has begun.",
  raised: "The limit was raised.",
  lowered: "The limit was lowered.",
  frozen: "Nothing starts from here on.",
  thawed: "Work may start again.",
  closed: "The budget was closed for good.",
  transferred: "A part of the limit went to another budget.",
  rate_limited: "How fast work may be asked for was changed.",
  published: "A result was given to others.",
  purged: "What was released was deleted; what it cost stays charged.",
}

export const fields = ["kind", "actor", "job", "from", "to", "search", "order"] as const
export type Filter = Partial<Record<(typeof fields)[number], string>>

export function readFilter(search: URLSearchParams): Filter {
  const said = fields.map((name) => [name, search.get(name)?.trim()] as const)
  return Object.fromEntries(said.filter(([, value]) => value)) as Filter
}

/** The address with another filter; which budget is shown stays, and which entry is open goes. */
export function withFilter(search: URLSearchParams, filter: Filter): URLSearchParams {
  const next = new URLSearchParams()
  const budget = search.get("budget")
  if (budget !== null) next.set("budget", budget)
  for (const name of fields) if (filter[name]) next.set(name, filter[name])
  return next
}

/** The address with another entry open, or with none. */
export function withEntry(
  search: URLSearchParams,
  budget_id: string,
  seq: number | null,
): URLSearchParams {
  const next = new URLSearchParams(search)
  next.set("budget", budget_id)
  if (seq === null) next.delete("seq")
  else next.set("seq", String(seq))
  return next
}

/** The filter as the service takes it. Days are those of the reader, both of them included. */
export function queryOf(filter: Filter): EntryQuery {
  return {
    kind: kinds.find((kind) => kind === filter.kind),
    actor: filter.actor,
    job: filter.job,
    since: (filter.from && startOfDay(filter.from)) || undefined,
    before: (filter.to && startOfDay(filter.to, 1)) || undefined,
    search: filter.search,
    order: filter.order === "oldest" ? "oldest" : "newest",
  }
}

/** Whether what a filter finds are neighbours in the chain, so that each place in it is known. */
export const isSpan = ({ kind, actor, job, search }: EntryQuery): boolean =>
  [kind, actor, job, search].every((value) => value === undefined)

/** The number that is looked for, where a search is one. */
export const soughtSeq = (search: string): number | null =>
  /^\s*[1-9]\d{0,14}\s*$/.test(search) ? Number(search) : null
