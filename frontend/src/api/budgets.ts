import { queryOptions } from "@tanstack/react-query"
import { api, ifMatch, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"
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

export const blockPages = (budget_id: string) =>
  pagesOptions([...budgetKeys.all, "blocks", budget_id], async (cursor, signal) =>
    unwrap(
      await api.GET("/v1/budgets/{budget_id}/blocks", {
        params: { path: { budget_id }, query: { cursor, limit: 200 } },
        signal,
      }),
    ),
  )

export const openBudget = async (body: Schemas["BudgetCreate"]) =>
  unwrap(await api.POST("/v1/budgets", { body, params: { header: once() } }))

type Change = { budget: Schemas["BudgetRead"]; body: Schemas["ChangeCreate"] }

/** Change the very version of a budget that was read. */
export const changeBudget = async ({ budget, body }: Change) =>
  unwrap(
    await api.POST("/v1/budgets/{budget_id}/changes", {
      params: { path: { budget_id: budget.id }, header: { ...once(), ...ifMatch(budget.version) } },
      body,
    }),
  )
