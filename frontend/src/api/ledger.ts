import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query"
import { api, type Schemas, unwrap } from "./client"
import type { paths } from "./schema"

export const ledgerKeys = { all: ["ledger"] as const }

export type Entry = Schemas["EntryRead"]
export type EntryQuery = NonNullable<
  paths["/v1/budgets/{budget_id}/entries"]["get"]["parameters"]["query"]
>

/** What a table shows of an entry; its bytes, which are most of it, are not kept. */
export type EntryRow = Pick<
  Entry,
  "seq" | "kind" | "at" | "actor" | "actor_name" | "charge_alone" | "hash"
> & { units: number }

function rowOf(entry: Entry): EntryRow {
  const { seq, kind, at, actor, actor_name, charge_alone, hash, parts } = entry
  const units = parts.reduce((sum, part) => sum + Number(part.units), 0)
  return { seq, kind, at, actor, actor_name, charge_alone, hash, units }
}

/** Entries of a budget as they are now: nothing of them is kept. */
export const readEntries = async (budget_id: string, query: EntryQuery, signal?: AbortSignal) =>
  unwrap(
    await api.GET("/v1/budgets/{budget_id}/entries", {
      params: { path: { budget_id }, query },
      signal,
    }),
  )

/** One entry; null where the chain has none of that number. */
export const entryQuery = (budget_id: string, seq: number) =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "entry", budget_id, seq],
    queryFn: async ({ signal }) =>
      (await readEntries(budget_id, { from_seq: seq, to_seq: seq }, signal)).items[0] ?? null,
  })

/** The rows of some entries by their numbers; what is appended to a chain changes none of them. */
export const rowsQuery = (budget_id: string, from_seq: number, to_seq: number) =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "rows", budget_id, from_seq, to_seq],
    queryFn: async ({ signal }) => {
      const limit = to_seq - from_seq + 1
      return (await readEntries(budget_id, { from_seq, to_seq, limit }, signal)).items.map(rowOf)
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    structuralSharing: false,
  })

/** The rows that a filter finds, page after page. */
export const rowPages = (budget_id: string, query: EntryQuery) =>
  infiniteQueryOptions({
    queryKey: [...ledgerKeys.all, "found", budget_id, query],
    queryFn: async ({ pageParam: cursor, signal }) => {
      const page = await readEntries(budget_id, { ...query, cursor, limit: 100 }, signal)
      return { items: page.items.map(rowOf), next: page.next }
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    // to compare all that was read before with itself takes longer than to draw it
    structuralSharing: false,
  })

/** The first and last entry of those between two times; null where there is none. */
export const spanQuery = (budget_id: string, query: EntryQuery) =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "span", budget_id, query],
    queryFn: async ({ signal }) => {
      const ask = { ...query, limit: 1 }
      const [oldest, newest] = await Promise.all([
        readEntries(budget_id, { ...ask, order: "oldest" }, signal),
        readEntries(budget_id, { ...ask, order: "newest" }, signal),
      ])
      const [first, last] = [oldest.items[0]?.seq, newest.items[0]?.seq]
      return first === undefined || last === undefined ? null : { first, last }
    },
  })

/** Where a browser fetches the same entries as one table. */
export function tablePlace(budget_id: string, query: EntryQuery): string {
  const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== null)
  const asked = new URLSearchParams(said.map(([name, value]) => [name, String(value)])).toString()
  return `/v1/budgets/${budget_id}/entries/export${asked && `?${asked}`}`
}

/** The newest signed checkpoint, as it is now. */
export const readCheckpoint = async (signal?: AbortSignal) =>
  unwrap(await api.GET("/v1/ledger/checkpoint", { signal }))

export const verificationQuery = () =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "verification"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/ledger/verification", { signal })),
  })

export const discrepanciesQuery = () =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "discrepancies"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/ledger/discrepancies", { signal })),
  })

export const exceptionsQuery = () =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "exceptions"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/ledger/exceptions", { signal })),
  })

export const auditEventsQuery = (
  query: paths["/v1/audit-events"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "auditEvents", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/audit-events", { params: { query }, signal })),
  })
