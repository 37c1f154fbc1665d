import { Burger, Center, Group, Indicator, AppShell as Shell, Text } from "@mantine/core"
import { useDisclosure } from "@mantine/hooks"
import { useQuery } from "@tanstack/react-query"
import type { ReactNode } from "react"
import { Link } from "wouter"
import { ProblemError } from "../api/client"
import { notificationsQuery } from "../api/notifications"
import { hasRole, type Me, meQuery } from "../api/session"
import { AccountMenu } from "./AccountMenu"
import { ColorScheme } from "./ColorScheme"
import { LoadingState } from "./LoadingState"
import { Navigation } from "./Navigation"
import { ProblemNotice } from "./ProblemNotice"

/** What surrounds every page of somebody who is signed in. */
export function AppShell({ children }: { children: ReactNode }) {
  const me = useQuery(meQuery())
  const [isOpen, { toggle, close }] = useDisclosure()
  if (me.error instanceof ProblemError && me.error.status === 401) return null
  if (me.error !== null)
    return (
      <Center component="main" p="xl">
        <ProblemNotice error={me.error} retry={me.refetch} />
      </Center>
    )
  if (me.data === undefined)
    return (
      <main>
        <LoadingState />
      </main>
    )
  return (
    <Shell
      header={{ height: 52 }}
      navbar={{ width: 208, breakpoint: "sm", collapsed: { mobile: !isOpen } }}
      padding={{ base: "sm", sm: "lg" }}
    >
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <Shell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger
              opened={isOpen}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label="Navigation"
              aria-expanded={isOpen}
            />
            <Text component="span" fw={600} style={{ whiteSpace: "nowrap" }}>
              Epsilon Ledger
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Inbox me={me.data} />
            <ColorScheme />
            <AccountMenu me={me.data} />
          </Group>
        </Group>
      </Shell.Header>
      <Shell.Navbar p="xs" aria-label="Pages">
        <Navigation me={me.data} whenGone={close} />
      </Shell.Navbar>
      <Shell.Main id="content" tabIndex={-1}>
        {children}
      </Shell.Main>
    </Shell>
  )
}

function Inbox({ me }: { me: Me }) {
  const reads = hasRole(me, "compliance_officer", "auditor")
  const inbox = useQuery({ ...notificationsQuery(), enabled: reads })
  if (!reads) return null
  const unread = inbox.data?.items.filter((each) => each.read_at === null).length ?? 0
  return (
    <Indicator label={unread} size={16} disabled={unread === 0} color="ink">
      <Link href="/inbox" aria-label={`Inbox, ${unread} unread`} className="inbox">
        Inbox
      </Link>
    </Indicator>
  )
}
