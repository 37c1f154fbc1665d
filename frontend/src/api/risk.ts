import { queryOptions } from "@tanstack/react-query"
import { budgetKeys } from "./budgets"
import { api, type Schemas, unwrap } from "./client"

export type Audience = "subject" | "officer" | "auditor"
export type RiskStep = Schemas["RiskStep"]

/** What the statements of all three audiences, and those of plans, have in common. */
export type Statement = {
  audience: Audience
  dataset: string
  kind: string
  as_of: string
  text: string[]
  assumptions: string[]
  limits: string[]
  footer: string
}

export const riskQuery = (budget_id: string) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "risk", budget_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/risk", { params: { path: { budget_id } }, signal }),
      ),
  })

export const comparisonQuery = (budget_id: string) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "deployments", budget_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/deployments", {
          params: { path: { budget_id } },
          signal,
        }),
      ),
  })

export const statementQuery = (budget_id: string, audience: Audience) =>
  queryOptions({
    queryKey: [...budgetKeys.all, "statement", budget_id, audience],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/budgets/{budget_id}/statement", {
          params: { path: { budget_id }, query: { audience } },
          signal,
        }),
      ) as unknown as Statement,
  })
