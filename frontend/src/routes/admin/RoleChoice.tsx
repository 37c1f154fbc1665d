import { Checkbox, Stack } from "@mantine/core"
import { roleAbouts, roleNames } from "../../lib/roles"

export type RoleName = keyof typeof roleNames

type Props = { value: RoleName[]; onChange: (roles: RoleName[]) => void; error: string | null }

/** Which roles somebody has. */
export function RoleChoice({ value, onChange, error }: Props) {
  return (
    <Checkbox.Group
      label="Roles"
      value={value}
      onChange={(chosen) => onChange(chosen as RoleName[])}
      error={error}
    >
      <Stack gap="xs" mt={6}>
        {(Object.keys(roleNames) as RoleName[]).map((role) => (
          <Checkbox
            key={role}
            value={role}
            label={roleNames[role]}
            description={roleAbouts[role]}
          />
        ))}
      </Stack>
    </Checkbox.Group>
  )
}
