import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import type { paths } from "./schema"

export const budgetKeys = { all: ["budgets"] as const }

export const budgetsQuery = (query: paths["/v1/budgets"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "budgets", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/budgets", { params: { query }, signal })),
  })

export const budgetQuery = (budget_id: string) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "budget", budget_id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/budgets/{budget_id}", { params: { path: { budget_id } }, signal })),
  })

export const timelineQuery = (budget_id: string) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "timeline", budget_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/timeline", {
          params: { path: { budget_id } },
          signal,
        }),
      ),
  })

export const traceQuery = (
  budget_id: string,
  query: paths["/v1/budgets/{budget_id}/trace"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "trace", budget_id, query],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/trace", {
          params: { path: { budget_id }, query },
          signal,
        }),
      ),
  })

export const blocksQuery = (
  budget_id: string,
  query: paths["/v1/budgets/{budget_id}/blocks"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "blocks", budget_id, query],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/blocks", {
          params: { path: { budget_id }, query },
          signal,
        }),
      ),
  })
