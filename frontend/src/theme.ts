import { Badge, createTheme, type MantineColorsTuple, Modal } from "@mantine/core"

const ink: MantineColorsTuple = [
  "#eef4fa",
  "#dbe6f1",
  "#b4cce3",
  "#8ab0d5",
  "#6799c9",
  "#4a85bb",
  "#2f6ea6",
  "#1f5a8e",
  "#1f4e79",
  "#173b5c",
]

/** Calm and dense: one blue for what acts, and colours only beside a word that says the same. */
export const theme = createTheme({
  primaryColor: "ink",
  primaryShade: { light: 8, dark: 6 },
  autoContrast: true,
  luminanceThreshold: 0.25,
  colors: { ink },
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', Menlo, Consolas, monospace",
  defaultRadius: "sm",
  focusRing: "auto",
  headings: {
    fontWeight: "600",
    sizes: { h1: { fontSize: "1.5rem" }, h2: { fontSize: "1.125rem" }, h3: { fontSize: "1rem" } },
  },
  components: {
    // a dialog's heading is no banner of the page
    Modal: Modal.extend({ defaultProps: { attributes: { header: { role: "none" } } } }),
    // the badges of the library are too pale to be read: the colour is the frame's alone
    Badge: Badge.extend({
      defaultProps: { variant: "outline", tt: "none", fw: 500 },
      styles: (_, { variant }) =>
        variant === "outline" ? { label: { color: "var(--mantine-color-text)" } } : {},
    }),
  },
})
