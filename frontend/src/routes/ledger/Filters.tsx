import { Button, Group, NativeSelect, TextInput } from "@mantine/core"
import { type FormEvent, memo, useState } from "react"
import { type Filter, kinds, soughtSeq } from "./filters"

type Props = {
  filter: Filter
  onChange: (filter: Filter) => void
  onSeek: (seq: number) => void
}

const anyKind = { value: "", label: "any kind" }
const orders = [
  { value: "", label: "newest first" },
  { value: "oldest", label: "oldest first" },
]

/** What of the chain to show. A number in the search leads to the entry of that number. */
export const Filters = memo(({ filter, onChange, onSeek }: Props) => {
  const [draft, setDraft] = useState(filter)
  const set = (name: keyof Filter) => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget
    setDraft((old) => ({ ...old, [name]: value }))
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const seq = soughtSeq(draft.search ?? "")
    if (seq === null) return onChange(draft)
    setDraft({ ...draft, search: "" })
    onSeek(seq)
  }
  const clear = () => {
    setDraft({})
    onChange({})
  }
  const text = (name: keyof Filter, label: string, placeholder: string) => (
    <TextInput
      label={label}
      placeholder={placeholder}
      value={draft[name] ?? ""}
      onChange={set(name)}
      style={{ flex: "1 1 9rem" }}
    />
  )
  const day = (name: "from" | "to", label: string) => (
    <TextInput type="date" label={label} value={draft[name] ?? ""} onChange={set(name)} />
  )
  return (
    <form onSubmit={submit} aria-label="Which entries">
      <Group align="flex-end" gap="xs">
        {text("search", "Search", "number, id or start of a hash")}
        <NativeSelect
          label="Kind"
          value={draft.kind ?? ""}
          onChange={set("kind")}
          data={[anyKind, ...kinds.map((value) => ({ value, label: value.replaceAll("_", " ") }))]}
        />
        {text("actor", "By", "name or id")}
        {text("job", "Job", "id")}
        {day("from", "From")}
        {day("to", "To")}
        <NativeSelect
          label="Order"
          value={draft.order ?? ""}
          onChange={set("order")}
          data={orders}
        />
        <Button type="submit">Show</Button>
        {Object.keys(filter).length > 0 && (
          <Button variant="default" onClick={clear}>
            Clear
          </Button>
        )}
      </Group>
    </form>
  )
})
