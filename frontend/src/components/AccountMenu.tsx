import { Button, Menu, Text } from "@mantine/core"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { useLocation } from "wouter"
import { type Me, signOut } from "../api/session"
import { ColorSchemeItem } from "./ColorScheme"

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
        <Button variant="default" size="xs" maw={260} aria-label={`Account of ${me.name}`}>
          <Text span truncate size="xs" fw={500} visibleFrom="sm">
            {me.name}
          </Text>
          <Text span size="xs" fw={500} hiddenFrom="sm">
            Account
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label c="dimmed" className="name" maw={260}>
          {me.name}: {me.roles.map((role) => names[role] ?? role).join(", ")}
        </Menu.Label>
        <Menu.Item onClick={() => go("/account")}>Account</Menu.Item>
        <ColorSchemeItem />
        <Menu.Item onClick={() => leaving.mutate()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}
