import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import type { paths } from "./schema"

export const approvalKeys = { all: ["approvals"] as const }

export const approvalsQuery = (query: paths["/v1/approvals"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...approvalKeys.all, "approvals", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/approvals", { params: { query }, signal })),
  })

export const approvalQuery = (approval_id: string) =>
  queryOptions({
    queryKey: [...approvalKeys.all, "approval", approval_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/approvals/{approval_id}", { params: { path: { approval_id } }, signal }),
      ),
  })

export const commentsQuery = (approval_id: string) =>
  queryOptions({
    queryKey: [...approvalKeys.all, "comments", approval_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/approvals/{approval_id}/comments", {
          params: { path: { approval_id } },
          signal,
        }),
      ),
  })
