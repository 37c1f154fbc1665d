import { Checkbox, Group, Stack, Textarea } from "@mantine/core"
import type { Schemas } from "../../../api/client"
import { Choice, Entry, Truth, useField } from "../../../components/fields"
import { Section, Titled } from "../../../components/Titled"
import { type Column, features, labels, texts } from "./columns"
import type { Part, SetTrain } from "./part"
import { listed } from "./query"
import type { Field } from "./schema"
import { Clip, Noise, Steps } from "./TrainPrivacy"
import { Optimizer, Rest } from "./TrainRest"
import { type Model, readsFeatures, type TrainForm } from "./train"

type Props = Part & { models: Schemas["ModelRead"][]; model: Model | undefined }

/** A training run: what learns, from what, how it is clipped and noised, and how it steps. */
export function TrainFields({ form, set, facts, models, model }: Props) {
  return (
    <Stack gap="lg">
      <Section title="Model">
        <Choice
          at="/spec/model/name"
          label="Model"
          isRequired
          none="Choose a model"
          value={form.model}
          set={(name) => set({ model: name, options: {}, features: [], label: "" })}
          options={models.map(({ name, title, accepted }) => ({
            value: name,
            label: accepted ? `${name}: ${title}` : `${name}: no worker has accepted it yet`,
            disabled: !accepted,
          }))}
        />
        {model?.fields.map((field) => (
          <OptionField
            key={field.path}
            field={field}
            value={form.options[field.path] ?? field.usual}
            set={(value) => set({ options: { ...form.options, [field.path]: value } })}
          />
        ))}
      </Section>
      {model !== undefined && <Learnt form={form} set={set} facts={facts} model={model} />}
      <Steps form={form} set={set} facts={facts} />
      <Clip form={form} set={set} facts={facts} />
      <Noise form={form} set={set} facts={facts} />
      <Optimizer form={form} set={set} />
      <Rest form={form} set={set} facts={facts} />
    </Stack>
  )
}

function OptionField(props: { field: Field; value: string; set: (value: string) => void }) {
  const { field, value, set } = props
  const shared = { at: `/spec/model/${field.path}`, label: field.label, value, set }
  if (field.kind === "truth") return <Truth {...shared} about={field.about} />
  if (field.kind === "choice")
    return (
      <Choice
        {...shared}
        about={field.about}
        none="Choose"
        isRequired={field.isRequired}
        options={field.choices.map((each) => ({ value: each, label: each }))}
      />
    )
  return (
    <Entry
      {...shared}
      about={field.about}
      isRequired={field.isRequired}
      isNumber={field.kind === "number"}
    />
  )
}

const boxesMost = 40

function Learnt({ form, set, facts, model }: Part & { model: Model }) {
  const isTable = readsFeatures(model)
  const offered = isTable ? features(facts, form.label) : texts(facts)
  return (
    <Titled title="What it learns">
      <Stack gap="xs">
        {isTable && (
          <Choice
            at="/spec/label"
            label="Label"
            about="A column with a public domain: its values are the classes"
            isRequired
            none="Choose a label"
            value={form.label}
            set={(label) =>
              set({ label, features: form.features.filter((each) => each !== label) })
            }
            options={labels(facts).map(({ name }) => ({ value: name, label: name }))}
          />
        )}
        {!isTable ? (
          <Choice
            at="/spec/features"
            label="Texts or tokens"
            isRequired
            none="Choose a column"
            value={form.features[0] ?? ""}
            set={(name) => set({ features: name === "" ? [] : [name] })}
            options={offered.map(({ name }) => ({ value: name, label: name }))}
          />
        ) : (
          <Features form={form} set={set} offered={offered} />
        )}
      </Stack>
    </Titled>
  )
}

function Features({ form, set, offered }: { form: TrainForm; set: SetTrain; offered: Column[] }) {
  const { id, error } = useField("/spec/features")
  const about = "Truth values, and numbers with public bounds"
  if (offered.length > boxesMost)
    return (
      <Textarea
        id={id}
        error={error}
        label="Features"
        description={`${about}: names, with commas between; ${offered.length} can be used`}
        defaultValue={form.features.join(", ")}
        onChange={(event) => set({ features: listed(event.currentTarget.value) })}
        autosize
        maxRows={8}
      />
    )
  return (
    <Checkbox.Group
      id={id}
      error={error}
      label="Features"
      description={about}
      withAsterisk
      value={form.features}
      onChange={(names) => set({ features: names })}
    >
      <Group gap="md" mt={4}>
        {offered.map(({ name }) => (
          <Checkbox key={name} value={name} label={name} />
        ))}
      </Group>
    </Checkbox.Group>
  )
}
