import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"
import type { paths } from "./schema"

export const reportKeys = { all: ["reports"] as const }

export const reportsQuery = (query: paths["/v1/reports"]["get"]["parameters"]["query"] = {}) =>
  queryOptions({
    queryKey: [...reportKeys.all, "reports", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/reports", { params: { query }, signal })),
  })

export const reportQuery = (report_id: string) =>
  queryOptions({
    queryKey: [...reportKeys.all, "report", report_id],
    queryFn: async ({ signal }) => {
      const params = { path: { report_id } }
      // the forms of the same route make the generated type an unknown one
      const found: unknown = unwrap(await api.GET("/v1/reports/{report_id}", { params, signal }))
      return found as Schemas["ReportRead"]
    },
  })

export const attestationsQuery = (
  query: paths["/v1/attestations"]["get"]["parameters"]["query"] = {},
) =>
  queryOptions({
    queryKey: [...reportKeys.all, "attestations", query],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/attestations", { params: { query }, signal })),
  })

export const reportPages = () =>
  pagesOptions([...reportKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/reports", { params: { query: { cursor } }, signal })),
  )

export const createReport = async (body: Schemas["ReportCreate"]) =>
  unwrap(await api.POST("/v1/reports", { body, params: { header: once() } }))

export type ReportForm = "json" | "html" | "pdf"

export const documentPlace = (report_id: string, form: ReportForm) =>
  `/v1/reports/${report_id}?format=${form}`

/** A signed report as it is served: the very text that its hash is of. */
export const documentQuery = (report_id: string, form: "json" | "html") =>
  queryOptions({
    queryKey: [...reportKeys.all, "document", report_id, form],
    queryFn: async ({ signal }) => {
      const answer = await api.GET("/v1/reports/{report_id}", {
        params: { path: { report_id }, query: { format: form } },
        parseAs: "text",
        signal,
      })
      return unwrap(answer) as unknown as string
    },
    staleTime: Number.POSITIVE_INFINITY,
  })

export const attestationPages = () =>
  pagesOptions([...reportKeys.all, "attestationPages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/attestations", { params: { query: { cursor } }, signal })),
  )

export const createAttestation = async (body: Schemas["AttestationCreate"]) =>
  unwrap(await api.POST("/v1/attestations", { body, params: { header: once() } }))

export const revokeAttestation = async (attestation_id: string) =>
  unwrap(
    await api.POST("/v1/attestations/{attestation_id}/revoke", {
      params: { path: { attestation_id } },
    }),
  )
