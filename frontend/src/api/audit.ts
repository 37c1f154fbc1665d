import { api, unwrap } from "./client"
import { pagesOptions } from "./pages"

export const auditKeys = { all: ["audit"] as const }

type Wanted = { action?: string; actor_id?: string; subject?: string }

export const auditPages = (wanted: Wanted = {}) =>
  pagesOptions([...auditKeys.all, "pages", wanted], async (cursor, signal) =>
    unwrap(await api.GET("/v1/audit-events", { params: { query: { ...wanted, cursor } }, signal })),
  )
