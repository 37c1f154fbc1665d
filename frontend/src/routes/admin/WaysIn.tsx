import { Text } from "@mantine/core"
import type { Schemas } from "../../api/client"

/** How people sign in to this house. */
export function WaysIn({ ways }: { ways: Schemas["WaysRead"] }) {
  return (
    <Text size="sm" c="dimmed" maw={560}>
      {ways.oidc
        ? "Identity provider: in use. People sign in there once their identity is linked."
        : "Identity provider: none is set up."}{" "}
      {ways.password
        ? "Passwords: in use, by invitation."
        : "Passwords: switched off. Programs sign in with keys."}
    </Text>
  )
}
