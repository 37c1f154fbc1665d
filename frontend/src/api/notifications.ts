import { queryOptions } from "@tanstack/react-query"
import { api, unwrap } from "./client"
import type { paths } from "./schema"

export const notificationKeys = { all: ["notifications"] as const }

export const notificationsQuery = (
  query: paths["/v1/notifications"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...notificationKeys.all, "notifications", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/notifications", { params: { query }, signal })),
  })
