import { keepPreviousData, queryOptions } from "@tanstack/react-query"
import { api, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"
import type { paths } from "./schema"

export const jobKeys = { all: ["jobs"] as const }

export type JobFilter = Pick<
  NonNullable<paths["/v1/jobs"]["get"]["parameters"]["query"]>,
  "state" | "kind" | "dataset_id" | "mine"
>

export const jobsQuery = (query: paths["/v1/jobs"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...jobKeys.all, "jobs", query],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/jobs", { params: { query }, signal })),
  })

export const jobPages = (filter: JobFilter) =>
  pagesOptions([...jobKeys.all, "pages", filter], async (cursor, signal) =>
    unwrap(await api.GET("/v1/jobs", { params: { query: { ...filter, cursor } }, signal })),
  )

export const jobQuery = (job_id: string) =>
  queryOptions({
    queryKey: [...jobKeys.all, "job", job_id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/jobs/{job_id}", { params: { path: { job_id } }, signal })),
  })

/** Its entries in the ledger; there are more of them with every state that it comes to. */
export const jobChargesQuery = ({ id: job_id, state }: { id: string; state: string }) =>
  queryOptions({
    queryKey: [...jobKeys.all, "charges", job_id, state],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/jobs/{job_id}/charges", { params: { path: { job_id } }, signal })),
    placeholderData: keepPreviousData,
  })

export const jobResultQuery = (job_id: string) =>
  queryOptions({
    queryKey: [...jobKeys.all, "jobResult", job_id],
    queryFn: async ({ signal }) => {
      const params = { path: { job_id } }
      // the forms of the same route make the generated type an unknown one
      const found: unknown = unwrap(await api.GET("/v1/jobs/{job_id}/result", { params, signal }))
      return found as Schemas["ResultRead"]
    },
    staleTime: Number.POSITIVE_INFINITY,
  })

/** A file of a job that is JSON itself, such as the card of a model. */
export const jobDocumentQuery = (job_id: string, name: string) =>
  queryOptions({
    queryKey: [...jobKeys.all, "document", job_id, name],
    queryFn: async ({ signal }) => {
      const answer = await api.GET("/v1/jobs/{job_id}/artifacts/{name}", {
        params: { path: { job_id, name } },
        parseAs: "text",
        signal,
      })
      return JSON.parse(unwrap(answer) as unknown as string) as Record<string, unknown>
    },
    staleTime: Number.POSITIVE_INFINITY,
  })

export const eventsPlace = (job_id: string) => `/v1/jobs/${job_id}/events`

export const artifactPlace = (job_id: string, name: string) =>
  `/v1/jobs/${job_id}/artifacts/${encodeURIComponent(name)}`

export const resultPlace = (job_id: string, form: "json" | "csv" | "parquet") =>
  `/v1/jobs/${job_id}/result?format=${form}`

export const cancelJob = async (job_id: string) =>
  unwrap(await api.POST("/v1/jobs/{job_id}/cancel", { params: { path: { job_id } } }))

export const modelsQuery = () =>
  queryOptions({
    queryKey: [...jobKeys.all, "models"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/models", { signal })),
  })
