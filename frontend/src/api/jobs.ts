import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import type { paths } from "./schema"

export const jobKeys = { all: ["jobs"] as const }

export const jobsQuery = (query: paths["/v1/jobs"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...jobKeys.all, "jobs", query],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/jobs", { params: { query }, signal })),
  })

export const jobQuery = (job_id: string) =>
  queryOptions({
    queryKey: [...jobKeys.all, "job", job_id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/jobs/{job_id}", { params: { path: { job_id } }, signal })),
  })

export const jobResultQuery = (job_id: string) =>
  queryOptions({
    queryKey: [...jobKeys.all, "jobResult", job_id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/jobs/{job_id}/result", { params: { path: { job_id } }, signal })),
  })

export const modelsQuery = () =>
  queryOptions({
    queryKey: [...jobKeys.all, "models"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/models", { signal })),
  })
