import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"

export const apiKeyKeys = { all: ["keys"] as const }

export const apiKeysQuery = () =>
  queryOptions({
    queryKey: [...apiKeyKeys.all, "apiKeys"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/api-keys", { signal })),
  })

export const apiKeyPages = () =>
  pagesOptions([...apiKeyKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/api-keys", { params: { query: { cursor } }, signal })),
  )

export const createApiKey = async (body: Schemas["ApiKeyCreate"]) =>
  unwrap(await api.POST("/v1/api-keys", { body, params: { header: once() } }))

export const revokeApiKey = async (key_id: string) =>
  unwrap(await api.POST("/v1/api-keys/{key_id}/revoke", { params: { path: { key_id } } }))
