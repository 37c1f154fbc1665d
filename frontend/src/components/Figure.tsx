import { Box, Button, Group, Text } from "@mantine/core"
import { type ReactNode, Suspense, useState } from "react"
import { LoadingState } from "./LoadingState"

type Props = { title: string; about?: ReactNode; chart: ReactNode; table: ReactNode }

/** A chart and the table that says the same. `chart`: a lazy component over @mantine/charts. */
export function Figure({ title, about, chart, table }: Props) {
  const [isTable, setIsTable] = useState(false)
  return (
    <Box component="figure" m={0}>
      <Group component="figcaption" justify="space-between" mb="xs">
        <div>
          <Text fw={600}>{title}</Text>
          {about && (
            <Text component="div" size="sm" c="dimmed">
              {about}
            </Text>
          )}
        </div>
        <Button size="xs" variant="default" onClick={() => setIsTable(!isTable)}>
          {isTable ? "As a chart" : "As a table"}
        </Button>
      </Group>
      {isTable ? table : <Suspense fallback={<LoadingState />}>{chart}</Suspense>}
    </Box>
  )
}
