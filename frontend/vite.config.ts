import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { brotliCompressSync, gzipSync } from "node:zlib"
import react from "@vitejs/plugin-react"
import { defineConfig } from "vitest/config"

const built = "../app/web"
const smallest = 1024

/** The service sends these as they lie, so that no answer waits for a compressor. */
const compressed = {
  name: "compressed",
  closeBundle() {
    const folder = join(built, "assets")
    for (const name of readdirSync(folder)) {
      if (!/\.(js|css|svg)$/.test(name)) continue
      const bytes = readFileSync(join(folder, name))
      if (bytes.length < smallest) continue
      writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }))
      writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes))
    }
  },
}

export default defineConfig({
  plugins: [react(), compressed],
  build: { outDir: built, emptyOutDir: true, manifest: "manifest.json", assetsInlineLimit: 0 },
  server: { proxy: { "/v1": "http://127.0.0.1:8000" } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
})
