import { queryOptions } from "@tanstack/react-query"
import { api, once, type Schemas, unwrap } from "./client"
import { pagesOptions } from "./pages"

export const personKeys = { all: ["people"] as const }

export const peopleQuery = () =>
  queryOptions({
    queryKey: [...personKeys.all, "people"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/people", { signal })),
  })

export const identitiesQuery = (principal_id: string) =>
  queryOptions({
    queryKey: [...personKeys.all, "identities", principal_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/people/{principal_id}/identities", {
          params: { path: { principal_id } },
          signal,
        }),
      ),
  })

export const workQuery = (principal_id: string) =>
  queryOptions({
    queryKey: [...personKeys.all, "work", principal_id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET("/v1/people/{principal_id}/work", {
          params: { path: { principal_id } },
          signal,
        }),
      ),
  })

export const mailAddressesQuery = () =>
  queryOptions({
    queryKey: [...personKeys.all, "mailAddresses"],
    queryFn: async ({ signal }) => unwrap(await api.GET("/v1/mail-addresses", { signal })),
  })

export const personPages = () =>
  pagesOptions([...personKeys.all, "pages"], async (cursor, signal) =>
    unwrap(await api.GET("/v1/people", { params: { query: { cursor } }, signal })),
  )

/** Everybody, for the names behind ids; the first two hundred of them. */
export const namesQuery = () =>
  queryOptions({
    queryKey: [...personKeys.all, "names"],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/people", { params: { query: { limit: 200 } }, signal })).items,
  })

export const createPerson = async (body: Schemas["PersonCreate"]) =>
  unwrap(await api.POST("/v1/people", { body, params: { header: once() } }))

type Person = { principal_id: string }

export const changeRoles = async ({
  principal_id,
  roles,
}: Person & { roles: Schemas["RolesChange"]["roles"] }) =>
  unwrap(
    await api.PUT("/v1/people/{principal_id}/roles", {
      params: { path: { principal_id } },
      body: { roles },
    }),
  )

export const deactivatePerson = async (principal_id: string) =>
  unwrap(
    await api.POST("/v1/people/{principal_id}/deactivate", { params: { path: { principal_id } } }),
  )

export const activatePerson = async (principal_id: string) =>
  unwrap(
    await api.POST("/v1/people/{principal_id}/activate", { params: { path: { principal_id } } }),
  )

export const invitePerson = async (principal_id: string) =>
  unwrap(
    await api.POST("/v1/people/{principal_id}/invitations", {
      params: { path: { principal_id }, header: once() },
    }),
  )

export const writeMailAddress = async ({
  principal_id,
  address,
}: Person & { address: string | null }) =>
  unwrap(
    await api.PUT("/v1/people/{principal_id}/mail-address", {
      params: { path: { principal_id } },
      body: { address },
    }),
  )

export const linkIdentity = async ({ principal_id, ...body }: Person & Schemas["IdentityLink"]) =>
  unwrap(
    await api.POST("/v1/people/{principal_id}/identities", {
      params: { path: { principal_id }, header: once() },
      body,
    }),
  )

export const unlinkIdentity = async (path: Person & { identity_id: string }) =>
  unwrap(
    await api.DELETE("/v1/people/{principal_id}/identities/{identity_id}", { params: { path } }),
  )

export const allMailAddressesQuery = () =>
  queryOptions({
    queryKey: [...personKeys.all, "allMailAddresses"],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET("/v1/mail-addresses", { params: { query: { limit: 200 } }, signal }))
        .items,
  })
