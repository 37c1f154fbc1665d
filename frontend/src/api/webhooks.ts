import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"
import type { paths } from "./schema"

export const webhookKeys = { all: ["webhooks"] as const }

export const webhooksQuery = () =>
  queryOptions({
    queryKey: [...webhookKeys.all, "webhooks"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/webhooks", { signal })),
  })

export const deliveriesQuery = (
  webhook_id: string,
  query: paths["/v1/webhooks/{webhook_id}/deliveries"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...webhookKeys.all, "deliveries", webhook_id, query],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/webhooks/{webhook_id}/deliveries", {
          params: { path: { webhook_id }, query },
          signal,
        }),
      ),
  })

export const webhookPages = () =>
  pagesOptions([...webhookKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/webhooks", { params: { query: { cursor } }, signal })),
  )

export const deliveryPages = (webhook_id: string) =>
  pagesOptions([...webhookKeys.all, "deliveryPages", webhook_id], async (cursor, signal) =>
    unwrap(
      await api.GET("/v1/webhooks/{webhook_id}/deliveries", {
        params: { path: { webhook_id }, query: { cursor } },
        signal,
      }),
    ),
  )

export const createWebhook = async (body: Schemas["WebhookCreate"]) =>
  unwrap(await api.POST("/v1/webhooks", { body, params: { header: once() } }))

export const endWebhook = async (webhook_id: string) =>
  unwrap(await api.DELETE("/v1/webhooks/{webhook_id}", { params: { path: { webhook_id } } }))
