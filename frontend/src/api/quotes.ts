import { queryOptions } from "@tanstack/react-query"
import { api, ifMatch, type Schemas, unwrap } from "./client"

type Amount = Schemas["AmountAnswer"]
type Described = Schemas["QuoteRead"]

/** What a request would cost in one scope that the caller may read; of a plan in units of slots. */
export type QuotedCharge = {
  budget_id: string
  kind: string
  asked: Amount | null
  units?: Record<string, number>
  remaining: Amount | null
  remaining_after: Amount | null
  slots_left?: Record<string, number>
  fits: boolean
}

/** What the service says would pass on the whole path; null and absent are what would not. */
export type Fits = {
  max_units?: number
  epsilon?: string | null
  noise_multiplier_at_asked_units?: string | null
}

export type Predicted = {
  measure: string
  half_width_95: string
  unit: "value" | "rows in rank"
  assumed_count?: number
}

/** One draw of noise: what it is on, and how far one unit moves that in a group. */
export type Draw = {
  of: string
  mechanism: string
  scale: string
  moved_by_one_unit: number
}

export type QuotePlan = {
  draws: Draw[]
  groups: { col: string; keys: "private" | "public" | "bins" }[]
  public_groups: number | null
  max_groups: number
  max_rows: number
}

/** A quote, with the parts of it that the description of the API leaves open. */
export type Quote = Pick<Described, "reused_from" | "group_size_shown" | "truncation"> & {
  charges: QuotedCharge[]
  admitted_now: boolean
  fits: Fits
  plan?: QuotePlan | null
  predicted?: Predicted[] | null
  proposed?: { bounds: { max_groups: number; max_rows: number } | null } | null
  noise_multiplier?: string
}

export const quoteKeys = { all: ["quotes"] as const }

/** The price of a request as the budgets stand now; it spends nothing. */
export const quoteQuery = (body: Schemas["QuoteCreate"]) =>
  queryOptions({
    queryKey: [...quoteKeys.all, body],
    queryFn: async ({ signal }) =>
      unwrap(await api.POST("/v1/quotes", { body, signal })) as unknown as Quote,
  })

export const submitJob = async ({ body, key }: { body: Schemas["JobSubmit"]; key: string }) =>
  unwrap(await api.POST("/v1/jobs", { body, params: { header: { "Idempotency-Key": key } } }))

export type MoreAsked = { budget_id: string; version: number; epsilon: string; reason: string }

/** Ask the officers to raise a budget that was read in this version. */
export const askForMore = async ({ budget_id, version, epsilon, reason }: MoreAsked) =>
  unwrap(
    await api.POST("/v1/budgets/{budget_id}/changes", {
      params: {
        path: { budget_id },
        header: { "Idempotency-Key": crypto.randomUUID(), ...ifMatch(version) },
      },
      body: { action: "raise", limit: { epsilon }, reason },
    }),
  )
