import { useQuery } from "@tanstack/react-query"
import { hasRole, meQuery } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import People from "./People"
import Projects from "./Projects"

/** The first page of the administration that somebody may see. */
export default function Admin() {
  const me = useQuery(meQuery())
  if (me.data === undefined) return <LoadingState />
  return hasRole(me.data, "admin") ? <People /> : <Projects />
}
