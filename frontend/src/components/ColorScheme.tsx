import { Button, Menu, useComputedColorScheme, useMantineColorScheme } from "@mantine/core"

const names = { dark: "Dark", light: "Light" } as const

function useOtherScheme() {
  const { setColorScheme } = useMantineColorScheme()
  const other = useComputedColorScheme("light") === "light" ? "dark" : "light"
  return { name: names[other], take: () => setColorScheme(other) }
}

export function ColorScheme() {
  const { name, take } = useOtherScheme()
  return (
    <Button variant="default" size="xs" px="xs" onClick={take} visibleFrom="sm">
      {name}
    </Button>
  )
}

/** The same within a menu, where the header has no room for it. */
export function ColorSchemeItem() {
  const { name, take } = useOtherScheme()
  return (
    <Menu.Item onClick={take} hiddenFrom="sm">
      {name} colours
    </Menu.Item>
  )
}
