import { Checkbox, NativeSelect, TextInput } from "@mantine/core"
import { createContext, type ReactNode, useContext } from "react"
import { ProblemError } from "../api/client"

/** What is wrong, by the pointer of the value in the request. */
export type Fault = { at: string; text: string }

export const Faults = createContext<Fault[]>([])

export const fieldId = (at: string): string => `field${at.replace(/[^A-Za-z0-9]+/g, "-")}`

/** The values that a refusal points at, each with its reason. */
export function faultsOf(error: Error | null): Fault[] {
  if (!(error instanceof ProblemError)) return []
  const { errors, pointer, reason, detail } = error.facts
  if (Array.isArray(errors))
    return errors.map((each) => ({ at: String(each.pointer), text: String(each.reason) }))
  return typeof pointer === "string" ? [{ at: pointer, text: String(reason ?? detail) }] : []
}

/** What a field of the request shows of itself: an id to focus it by, and what is wrong with it. */
export function useField(at: string): { id: string; error: string | undefined } {
  const found = useContext(Faults).find((each) => each.at === at || each.at.startsWith(`${at}/`))
  return { id: fieldId(at), error: found?.text }
}

type Props = {
  at: string
  label: ReactNode
  value: string
  set: (value: string) => void
  about?: ReactNode
  isRequired?: boolean
}

/** A line to type into. */
export function Entry({
  at,
  label,
  value,
  set,
  about,
  isRequired,
  placeholder,
  isNumber = true,
}: Props & { placeholder?: string; isNumber?: boolean }) {
  return (
    <TextInput
      {...useField(at)}
      label={label}
      description={about}
      value={value}
      onChange={(event) => set(event.currentTarget.value)}
      placeholder={placeholder}
      inputMode={isNumber ? "decimal" : undefined}
      autoComplete="off"
      withAsterisk={isRequired}
      aria-required={isRequired}
    />
  )
}

export type Option = { value: string; label: string; disabled?: boolean }

export const optionsFrom = (words: Record<string, string>): Option[] =>
  Object.entries(words).map(([value, label]) => ({ value, label }))

/** One of several; `none` is what stands there while nothing is chosen. */
export function Choice({
  at,
  label,
  value,
  set,
  about,
  isRequired,
  options,
  none,
}: Props & { options: Option[]; none?: string }) {
  return (
    <NativeSelect
      {...useField(at)}
      label={label}
      description={about}
      value={value}
      onChange={(event) => set(event.currentTarget.value)}
      data={none === undefined ? options : [{ value: "", label: none }, ...options]}
      withAsterisk={isRequired}
      aria-required={isRequired}
    />
  )
}

export function Truth({ at, label, value, set, about }: Props) {
  return (
    <Checkbox
      {...useField(at)}
      label={label}
      description={about}
      checked={value === "true"}
      onChange={(event) => set(event.currentTarget.checked ? "true" : "")}
    />
  )
}
