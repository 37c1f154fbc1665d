import { Button, useComputedColorScheme, useMantineColorScheme } from "@mantine/core"

export function ColorScheme() {
  const { setColorScheme } = useMantineColorScheme()
  const other = useComputedColorScheme("light") === "light" ? "dark" : "light"
  return (
    <Button variant="default" size="xs" px="xs" onClick={() => setColorScheme(other)}>
      {other === "dark" ? "Dark" : "Light"}
    </Button>
  )
}
