import { Fieldset, SimpleGrid } from "@mantine/core"
import type { ReactNode } from "react"

const flush = { root: { padding: 0 }, legend: { fontWeight: 600, marginBottom: 4 } }

/** Fields that belong together, under their own name. */
export function Titled({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Fieldset variant="unstyled" legend={title} styles={flush}>
      {children}
    </Fieldset>
  )
}

/** The same in two columns where there is room. */
export function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Titled title={title}>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
        {children}
      </SimpleGrid>
    </Titled>
  )
}
