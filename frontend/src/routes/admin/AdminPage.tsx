import { useQuery } from "@tanstack/react-query"
import type { ReactNode } from "react"
import { hasRole, type Me, meQuery, type Role } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { SubNavigation, type SubPlace } from "../../components/SubNavigation"

const places: (SubPlace & { roles: Role[] })[] = [
  { path: "/admin/people", name: "People", roles: ["admin"] },
  { path: "/admin/projects", name: "Projects", roles: ["admin", "compliance_officer", "auditor"] },
  { path: "/admin/keys", name: "Keys", roles: ["admin"] },
  { path: "/admin/connections", name: "Connections", roles: ["admin", "compliance_officer"] },
  { path: "/admin/webhooks", name: "Webhooks", roles: ["admin"] },
  { path: "/admin/audit", name: "Audit trail", roles: ["admin", "compliance_officer", "auditor"] },
]

/** What of the administration somebody may see; the service decides again. */
export const adminPlacesOf = (me: Me): SubPlace[] =>
  places.filter(({ roles }) => hasRole(me, ...roles))

type Props = { path: string; title: string; about: string; children: (me: Me) => ReactNode }

/** One page of the administration, with the way to the others; `children` for who may read it. */
export function AdminPage({ path, title, about, children }: Props) {
  const me = useQuery(meQuery())
  if (me.data === undefined) return <LoadingState />
  const mine = adminPlacesOf(me.data)
  return (
    <>
      <PageHeader title={title} about={about} />
      {mine.length > 0 && <SubNavigation label="Administration" places={mine} />}
      {mine.some((place) => place.path === path) ? (
        children(me.data)
      ) : (
        <EmptyState title="Your role does not include this.">
          An administrator looks after it.
        </EmptyState>
      )}
    </>
  )
}
