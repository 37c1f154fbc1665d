import { Fieldset, SimpleGrid } from "@mantine/core"
import type { ReactNode } from "react"
import type { Facts } from "./columns"
import type { TrainForm } from "./train"

export type SetTrain = (patch: Partial<TrainForm>) => void
export type Part = { form: TrainForm; set: SetTrain; facts: Facts }

const flush = { root: { padding: 0 }, legend: { fontWeight: 600, marginBottom: 4 } }

/** Fields that belong together, under their own name. */
export function Titled({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Fieldset variant="unstyled" legend={title} styles={flush}>
      {children}
    </Fieldset>
  )
}

export function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Titled title={title}>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
        {children}
      </SimpleGrid>
    </Titled>
  )
}
