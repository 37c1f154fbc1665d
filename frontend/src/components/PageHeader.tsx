import { Box, Group, Text, Title } from "@mantine/core"
import { useDocumentTitle } from "@mantine/hooks"
import type { ReactNode } from "react"

type Props = { title: string; about?: ReactNode; children?: ReactNode }

/** The heading of a page, which names the document too; `children` act on the page. */
export function PageHeader({ title, about, children }: Props) {
  useDocumentTitle(`${title} · Epsilon Ledger`)
  return (
    <Group justify="space-between" align="flex-start" mb="md">
      <Box style={{ minWidth: 0, flex: "1 1 16rem" }}>
        <Title order={1} className="name">
          {title}
        </Title>
        {about && (
          <Text component="div" size="sm" c="dimmed">
            {about}
          </Text>
        )}
      </Box>
      {children && <Group gap="xs">{children}</Group>}
    </Group>
  )
}
