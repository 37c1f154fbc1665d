import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"

export const projectKeys = { all: ["projects"] as const }

export const projectsQuery = () =>
  queryOptions({
    queryKey: [...projectKeys.all, "projects"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/projects", { signal })),
  })

export const projectPages = () =>
  pagesOptions([...projectKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/projects", { params: { query: { cursor } }, signal })),
  )

export const createProject = async (body: Schemas["ProjectCreate"]) =>
  unwrap(await api.POST("/v1/projects", { body, params: { header: once() } }))

type Member = { project_id: string; principal_id: string }

export const addMember = async ({ project_id, principal_id }: Member) =>
  unwrap(
    await api.POST("/v1/projects/{project_id}/members", {
      params: { path: { project_id } },
      body: { principal_id },
    }),
  )

export const removeMember = async (path: Member) =>
  unwrap(await api.DELETE("/v1/projects/{project_id}/members/{principal_id}", { params: { path } }))
