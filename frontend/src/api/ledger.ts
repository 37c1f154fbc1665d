import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import type { paths } from "./schema"

export const ledgerKeys = { all: ["ledger"] as const }

export const entriesQuery = (
  budget_id: string,
  query: paths["/v1/budgets/{budget_id}/entries"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...ledgerKeys.all, "entries", budget_id, query],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/entries", {
          params: { path: { budget_id }, query },
          signal,
        }),
      ),
  })

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
