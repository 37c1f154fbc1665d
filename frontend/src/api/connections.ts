import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"

export const connectionKeys = { all: ["connections"] as const }

export const connectionsQuery = () =>
  queryOptions({
    queryKey: [...connectionKeys.all, "connections"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/connections", { signal })),
  })

export const connectionPages = () =>
  pagesOptions([...connectionKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/connections", { params: { query: { cursor } }, signal })),
  )

export const createConnection = async (body: Schemas["ConnectionCreate"]) =>
  unwrap(await api.POST("/v1/connections", { body, params: { header: once() } }))
