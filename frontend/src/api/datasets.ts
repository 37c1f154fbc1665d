import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import { pagesOptions } from "./pages"
import type { paths } from "./schema"

export const datasetKeys = { all: ["datasets"] as const }

export const datasetsQuery = (query: paths["/v1/datasets"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...datasetKeys.all, "datasets", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/datasets", { params: { query }, signal })),
  })

export const datasetQuery = (dataset_id: string) =>
  queryOptions({
    queryKey: [...datasetKeys.all, "dataset", dataset_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/datasets/{dataset_id}", { params: { path: { dataset_id } }, signal }),
      ),
  })

export const versionPages = (dataset_id: string) =>
  pagesOptions([...datasetKeys.all, "versions", dataset_id], async (cursor, signal) =>
    unwrap(
      await api.GET("/v1/datasets/{dataset_id}/versions", {
        params: { path: { dataset_id }, query: { cursor } },
        signal,
      }),
    ),
  )

export const datasetPages = () =>
  pagesOptions([...datasetKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/datasets", { params: { query: { cursor } }, signal })),
  )

export const populationQuery = (name: string) =>
  queryOptions({
    queryKey: [...datasetKeys.all, "population", name],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/populations/{name}", { params: { path: { name } }, signal })),
  })
