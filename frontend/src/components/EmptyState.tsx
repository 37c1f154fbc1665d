import { Stack, Text } from "@mantine/core"
import type { ReactNode } from "react"

/** Nothing to show, and what would change that. */
export function EmptyState({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Stack gap={4} py="lg">
      <Text fw={500}>{title}</Text>
      {children && (
        <Text component="div" size="sm" c="dimmed">
          {children}
        </Text>
      )}
    </Stack>
  )
}
