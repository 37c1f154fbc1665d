import { queryOptions } from "@tanstack/react-query"
import { api, keepRequestToken, type Schemas, unwrap } from "./client"

export type Me = Schemas["MeRead"]
export type Role = "ml_engineer" | "compliance_officer" | "auditor" | "admin"

export const sessionKeys = { all: ["session"] as const }

/** Who one is; everything else waits for it, since it brings the token of the session. */
export const meQuery = () =>
  queryOptions({
    queryKey: [...sessionKeys.all, "me"],
    queryFn: async ({ signal }) => {
      const me = unwrap(await api.GET("/v1/me", { signal }))
      keepRequestToken(me.request_token)
      return me
    },
    staleTime: 60_000,
  })

export const waysQuery = () =>
  queryOptions({
    queryKey: [...sessionKeys.all, "ways"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/auth/ways", { signal })),
  })

export const sessionsQuery = () =>
  queryOptions({
    queryKey: [...sessionKeys.all, "list"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/auth/sessions", { signal })),
  })

export async function signIn(name: string, password: string): Promise<void> {
  const started = unwrap(await api.POST("/v1/auth/sign-in", { body: { name, password } }))
  keepRequestToken(started.request_token)
}

export async function signOut(): Promise<void> {
  unwrap(await api.POST("/v1/auth/sign-out"))
  keepRequestToken(null)
}

export async function setPassword(token: string, password: string): Promise<void> {
  unwrap(await api.POST("/v1/auth/password", { body: { token, password } }))
}

export const hasRole = (me: Me, ...roles: Role[]): boolean =>
  roles.some((role) => me.roles.includes(role))

export const endSession = async (session_id: string) =>
  unwrap(
    await api.POST("/v1/auth/sessions/{session_id}/revoke", { params: { path: { session_id } } }),
  )
