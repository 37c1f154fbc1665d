import { queryOptions } from "@tanstack/react-query"
import { approvalKeys } from "./approvals"
import { api, ifMatch, type Schemas, unwrap } from "./client"

export type Approval = Schemas["ApprovalRead"]
export type Effect = Schemas["EffectRead"]

const keyed = () => ({ "Idempotency-Key": crypto.randomUUID() })

export const effectQuery = (approval_id: string) =>
  queryOptions({
    queryKey: [...approvalKeys.all, "effect", approval_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/approvals/{approval_id}/effect", {
          params: { path: { approval_id } },
          signal,
        }),
      ),
  })

export const delegationsQuery = () =>
  queryOptions({
    queryKey: [...approvalKeys.all, "delegations"],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/delegations", { params: { query: { limit: 200 } }, signal })),
  })

export type Decision = Schemas["DecisionCreate"]["decision"]

/** Decide on the very change and version that was read. */
export async function decide(
  approval: Approval,
  decision: Decision,
  reason: string,
  on_behalf_of: string | null,
) {
  return unwrap(
    await api.POST("/v1/approvals/{approval_id}/decision", {
      params: { path: { approval_id: approval.id }, header: ifMatch(approval.version) },
      body: { decision, change_sha256: approval.change_sha256, reason, on_behalf_of },
    }),
  )
}

export async function comment(approval_id: string, text: string) {
  return unwrap(
    await api.POST("/v1/approvals/{approval_id}/comments", {
      params: { path: { approval_id }, header: keyed() },
      body: { text },
    }),
  )
}

/** Freeze every open lifetime budget at once. */
export async function breakGlass(reason: string) {
  return unwrap(
    await api.POST("/v1/ledger/break-glass", { params: { header: keyed() }, body: { reason } }),
  )
}

/** Ask a second officer to let a frozen budget go on. */
export async function askToThaw(budget_id: string, reason: string) {
  const budget = unwrap(
    await api.GET("/v1/budgets/{budget_id}", { params: { path: { budget_id } } }),
  )
  return unwrap(
    await api.POST("/v1/budgets/{budget_id}/changes", {
      params: { path: { budget_id }, header: { ...keyed(), ...ifMatch(budget.version) } },
      body: { action: "thaw", reason },
    }),
  )
}

export async function markRead(notification_id: number) {
  return unwrap(
    await api.POST("/v1/notifications/{notification_id}/read", {
      params: { path: { notification_id } },
    }),
  )
}
