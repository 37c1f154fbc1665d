import { NavLink } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link, useLocation } from "wouter"
import { approvalsQuery } from "../api/approvals"
import type { Me } from "../api/session"
import { placesOf } from "./places"

export function Navigation({ me, whenGone }: { me: Me; whenGone: () => void }) {
  const [here] = useLocation()
  const places = placesOf(me)
  const reads = places.some(({ path }) => path === "/approvals")
  const waiting = useQuery({ ...approvalsQuery({ state: "pending", limit: 100 }), enabled: reads })
  const count = waiting.data?.items.length ?? 0
  return places.map(({ path, name }) => {
    const isHere = path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`)
    const label = path === "/approvals" && count > 0 ? `${name} (${count} waiting)` : name
    return (
      <NavLink
        key={path}
        component={Link}
        href={path}
        label={label}
        active={isHere}
        variant="filled"
        aria-current={isHere ? "page" : undefined}
        onClick={whenGone}
      />
    )
  })
}
