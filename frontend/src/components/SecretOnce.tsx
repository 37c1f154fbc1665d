import { Alert, Button, Code, CopyButton, Stack, Text } from "@mantine/core"
import type { ReactNode } from "react"

type Props = { title: string; secret: string | null; whenDone: () => void; children?: ReactNode }

/** A secret that the service shows once and keeps no copy of. */
export function SecretOnce({ title, secret, whenDone, children }: Props) {
  return (
    <Alert role="status" variant="outline" title={title} mb="md" maw={720}>
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          It is shown this once. Copy it now and keep it where nobody else reads it.
        </Text>
        {secret !== null && (
          <>
            <Code block className="name" w="100%" data-secret>
              {secret}
            </Code>
            <CopyButton value={secret}>
              {({ copied, copy }) => (
                <Button size="xs" onClick={copy}>
                  {copied ? "Copied" : "Copy"}
                </Button>
              )}
            </CopyButton>
          </>
        )}
        {children}
        <Button size="xs" variant="default" onClick={whenDone}>
          I have it
        </Button>
      </Stack>
    </Alert>
  )
}
