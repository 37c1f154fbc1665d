import { Button, Menu, Text } from "@mantine/core"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { useLocation } from "wouter"
import { type Me, signOut } from "../api/session"

const names: Record<string, string> = {
  ml_engineer: "engineer",
  compliance_officer: "officer",
  auditor: "auditor",
  admin: "administrator",
}

export function AccountMenu({ me }: { me: Me }) {
  const [, go] = useLocation()
  const client = useQueryClient()
  const leaving = useMutation({
    mutationFn: signOut,
    onSuccess: () => {
      client.clear()
      go("/sign-in")
    },
  })
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <Button variant="default" size="xs" maw={150}>
          <Text span truncate size="xs" fw={500}>
            {me.name}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label c="dimmed">{me.roles.map((role) => names[role] ?? role).join(", ")}</Menu.Label>
        <Menu.Item onClick={() => go("/account")}>Account</Menu.Item>
        <Menu.Item onClick={() => leaving.mutate()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}
