import { Link } from "wouter"
import { EmptyState } from "./EmptyState"
import { PageHeader } from "./PageHeader"

export function NotFound() {
  return (
    <>
      <PageHeader title="No such page" />
      <EmptyState title="Nothing is at this address.">
        <Link href="/">To the overview</Link>
      </EmptyState>
    </>
  )
}
