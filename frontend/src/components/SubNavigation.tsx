import { Group } from "@mantine/core"
import { Link, useLocation } from "wouter"
import "./sub-navigation.css"

export type SubPlace = { path: string; name: string }

/** The places within one page of the navigation. */
export function SubNavigation({ label, places }: { label: string; places: SubPlace[] }) {
  const [here] = useLocation()
  return (
    <Group component="nav" aria-label={label} gap="xs" mb="lg" className="sub-navigation">
      {places.map(({ path, name }) => (
        <Link key={path} href={path} aria-current={here === path ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </Group>
  )
}
